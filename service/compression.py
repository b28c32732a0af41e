"""a body and its Content-Encoding → the plain body, never larger than the limit; and back."""

import gzip
import zlib

from service.errors import MalformedRequest, TooLarge, UnsupportedMedia

WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""`deflate` is zlib's format, as RFC 9110 has it."""
LEVEL = 1
WORTH_BYTES = 1_024
"""A smaller answer is sent as it is."""


def plain(body: bytes, encoding: str, limit_bytes: int | None) -> bytes:
    """The body without its encoding; refused as soon as it proves to be over the limit."""
    if encoding in ("", "identity"):
        return body
    window = WINDOWS.get(encoding)
    if window is None:
        raise UnsupportedMedia("send gzip, deflate or no encoding", "content-encoding")
    unpacking = zlib.decompressobj(window)
    try:
        content = unpacking.decompress(body, 0 if limit_bytes is None else limit_bytes + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not {encoding}", "body") from error
    if limit_bytes is not None and len(content) > limit_bytes:
        raise TooLarge(f"the body unpacks to more than the limit of {limit_bytes} bytes", "body")
    if not unpacking.eof or unpacking.unused_data:
        raise MalformedRequest(f"the body is not one whole {encoding} stream", "body")
    return content


def packed(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first encoding of an `Accept-Encoding` that we have, and which; or plain."""
    if len(body) < WORTH_BYTES:
        return body, None
    for offer in accepted.lower().split(","):
        name, _, quality = offer.partition(";")
        if quality.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            continue
        if name.strip() == "gzip":
            return gzip.compress(body, LEVEL, mtime=0), "gzip"
        if name.strip() == "deflate":
            return zlib.compress(body, LEVEL), "deflate"
    return body, None
