"""JSON or bytes of the protocol ↔ numpy arrays, nothing larger than what came.

A BYTES element is four bytes of length, little-endian, and then the bytes; numbers are
little-endian, too. In an array BYTES are Python `bytes`.
"""

import base64
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedRequest

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
DATATYPES = {np.dtype(code): name for name, code in DTYPES.items()}
BYTES = "BYTES"
KINDS = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}
"""Kind of a dtype → kinds of JSON values that fit into it."""
HALVES = {"FP16", "BF16"}
"""JSON has no half precision: the protocol's clients send and read these as bytes. Where FP32 is
wanted they are as good: it holds all of their numbers."""
MAX_AXES = 8
MAX_DEPTH = 64
"""Of lists in JSON data; numpy's own limit, too."""
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Spec:
    """Name, datatype and shape of what a model takes or gives; -1 is a size that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Given:
    """One input as the client sent it: its data is JSON, or bytes."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Any = None
    raw: memoryview | bytes | None = field(default=None, repr=False)


def datatype(array: NDArray[Any]) -> str:
    return BYTES if array.dtype == object else DATATYPES[array.dtype]


def elements(shape: Sequence[int], where: str, limit: int | None) -> int:
    """How many elements a shape has; in Python's integers, which do not overflow."""
    if len(shape) > MAX_AXES:
        raise MalformedRequest(f"a shape has at most {MAX_AXES} axes", where)
    if not all(type(size) is int and size > 0 for size in shape):
        raise MalformedRequest("a shape holds positive integers", where)
    count = prod(shape)
    if limit is not None and count > limit:
        raise MalformedRequest(f"{count} elements; at most {limit}", where)
    return count


def array_of(given: Given, spec: Spec, limit: int | None = None) -> NDArray[Any]:
    """What was sent for `spec`, of `limit` elements at most; raises MalformedRequest."""
    where = f"inputs.{given.name}"
    widened = spec.datatype == "FP32" and given.datatype in HALVES
    if given.datatype != spec.datatype and not widened:
        raise MalformedRequest(f"is {spec.datatype}, not {str(given.datatype)[:16]}", where)
    count = elements(given.shape, f"{where}.shape", limit)
    fits = len(given.shape) == len(spec.shape) and all(
        of in (-1, size) for size, of in zip(given.shape, spec.shape, strict=True)
    )
    if not fits:
        said, wanted = list(given.shape), list(spec.shape)
        raise MalformedRequest(f"{said} does not fit {wanted}", f"{where}.shape")
    if given.raw is not None:
        flat = _from_raw(given.datatype, count, given.raw, where)
    else:
        flat = _from_json(given.datatype, count, given.data, where)
    return flat.reshape(given.shape).astype(np.float32) if widened else flat.reshape(given.shape)


def _objects(values: list[bytes]) -> NDArray[Any]:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _from_raw(datatype: str, count: int, raw: memoryview | bytes, where: str) -> NDArray[Any]:
    if datatype == BYTES:
        values = list(_byte_strings(memoryview(raw), where))
        if len(values) != count:
            raise MalformedRequest(f"{len(values)} elements, where its shape has {count}", where)
        return _objects(values)
    dtype = np.dtype(DTYPES.get(datatype, "<u2"))
    if len(raw) != count * dtype.itemsize:
        wanted = count * dtype.itemsize
        raise MalformedRequest(f"{len(raw)} bytes, where its shape has {wanted}", where)
    if dtype.kind == "b":
        truths: NDArray[Any] = np.frombuffer(raw, np.uint8) != 0
        return truths
    if datatype == "BF16":  # the upper half of a float32
        widened: NDArray[Any] = (np.frombuffer(raw, dtype).astype("<u4") << 16).view("<f4")
        return widened
    return np.frombuffer(raw, dtype)


def _byte_strings(raw: memoryview, where: str) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        start = at + LENGTH.size
        if start > len(raw):
            raise MalformedRequest("breaks off within the length of an element", where)
        (length,) = LENGTH.unpack_from(raw, at)
        at = start + length
        if at > len(raw):
            raise MalformedRequest("breaks off within an element", where)
        yield bytes(raw[start:at])


def _from_json(datatype: str, count: int, data: Any, where: str) -> NDArray[Any]:
    """Nested or flat lists, row by row."""
    if not isinstance(data, list):
        raise MalformedRequest("data is a list", where)
    if datatype in HALVES:
        raise MalformedRequest(f"{datatype} comes as binary data, not as JSON", where)
    if datatype == BYTES:
        texts = list(_flat(data, where))
        if not all(isinstance(text, str | bytes) for text in texts):
            raise MalformedRequest("data of BYTES are strings", where)
        try:
            values = _objects([text.encode() if type(text) is str else text for text in texts])
        except UnicodeEncodeError as error:
            raise MalformedRequest("a string holds half a character", where) from error
    else:
        values = _numbers(np.dtype(DTYPES[datatype]), data, where)
    if values.size != count:
        raise MalformedRequest(f"{values.size} elements, where its shape has {count}", where)
    return values


def _flat(data: list[Any], where: str, depth: int = 1) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        raise MalformedRequest(f"data is nested deeper than {MAX_DEPTH}", where)
    for one in data:
        if isinstance(one, list):
            yield from _flat(one, where, depth + 1)
        else:
            yield one


def _numbers(dtype: np.dtype[Any], data: list[Any], where: str) -> NDArray[Any]:
    try:
        values = np.array(data)
    except (ValueError, OverflowError) as error:
        raise MalformedRequest("data is not a regular nest of numbers", where) from error
    if values.size and values.dtype.kind not in KINDS[dtype.kind]:
        raise MalformedRequest(f"data does not hold {DATATYPES[dtype]} only", where)
    if dtype.kind in "iu" and values.size:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if int(values.min()) < least or int(values.max()) > most:
            raise MalformedRequest(f"a number is beyond {least} to {most}", where)
    try:
        with np.errstate(over="raise"):
            fitted: NDArray[Any] = values.astype(dtype)
    except FloatingPointError as error:
        raise MalformedRequest(f"a number is beyond {DATATYPES[dtype]}", where) from error
    return fitted


def raw_of(array: NDArray[Any]) -> bytes:
    """An array as the protocol has it in bytes."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(LENGTH.pack(len(value)) + value for value in array.flat)


def _string(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def json_of(array: NDArray[Any]) -> list[Any]:
    """An array as flat JSON values; BYTES as strings: texts as they are, files in base64."""
    values: list[Any] = array.ravel().tolist()
    return [_string(value) for value in values] if array.dtype == object else values
