"""bytes of JSON → their value, or a refusal of what is no JSON or nested too deep."""

from typing import Any

import numpy as np
from pydantic_core import from_json as parsed

from service.errors import MalformedRequest

STEPS = np.zeros(256, np.int8)
STEPS[[*b"[{"]], STEPS[[*b"]}"]] = 1, -1


def depth(content: bytes) -> int:
    """How deep arrays and objects are nested; brackets within strings do not count."""
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(bare.split(b'"')[::2])
    steps = STEPS[np.frombuffer(outside, np.uint8)]
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


def check_depth(content: bytes, limit: int | None) -> None:
    """Raise MalformedRequest where JSON is nested deeper than the limit."""
    if limit is None or content.count(b"[") + content.count(b"{") <= limit:
        return
    if depth(content) > limit:
        raise MalformedRequest(f"the JSON is nested deeper than {limit}", "body")


def from_json(content: bytes, depth_limit: int | None) -> Any:
    """The value; raises MalformedRequest for what is nested too deep, else ValueError."""
    check_depth(content, depth_limit)
    return parsed(content, allow_inf_nan=False)
