"""what went wrong → one problem with an HTTP status, a gRPC code, the field and the limit."""

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import ClassVar

import grpc
from pydantic import ValidationError


@dataclass
class Problem(Exception):
    """A refusal that the client can act on. Both doors show `detail` and `field` unchanged."""

    detail: str
    field: str | None = None
    retry_after_s: float | None = None
    """When the same request may succeed; None where it will not."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    code = grpc.StatusCode.INTERNAL
    title = "internal error"

    def retry_after(self) -> int | None:
        """`retry_after_s` in whole seconds, as HTTP has it."""
        return None if self.retry_after_s is None else max(1, ceil(self.retry_after_s))

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail


class InvalidInput(Problem):
    """The request is well-formed, but a field has a value that cannot be served."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = grpc.StatusCode.INVALID_ARGUMENT
    title = "invalid input"


class MalformedRequest(Problem):
    """The body cannot be parsed."""

    status = HTTPStatus.BAD_REQUEST
    code = grpc.StatusCode.INVALID_ARGUMENT
    title = "malformed request"


class Unauthenticated(Problem):
    """The caller has to say who they are."""

    status = HTTPStatus.UNAUTHORIZED
    code = grpc.StatusCode.UNAUTHENTICATED
    title = "unauthenticated"


class Forbidden(Problem):
    """The caller may not do this here."""

    status = HTTPStatus.FORBIDDEN
    code = grpc.StatusCode.PERMISSION_DENIED
    title = "forbidden"


class NotFound(Problem):
    """What is asked for is not here: a model, a version of it, or a path."""

    status = HTTPStatus.NOT_FOUND
    code = grpc.StatusCode.NOT_FOUND
    title = "not found"


class NotAllowed(Problem):
    """The path is right, and the method is not."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = grpc.StatusCode.UNIMPLEMENTED
    title = "method not allowed"


class UpgradeRequired(Problem):
    """The path is that of a WebSocket."""

    status = HTTPStatus.UPGRADE_REQUIRED
    code = grpc.StatusCode.UNIMPLEMENTED
    title = "upgrade required"


class Unsupported(Problem):
    """A part of a protocol that this service leaves out."""

    status = HTTPStatus.NOT_IMPLEMENTED
    code = grpc.StatusCode.UNIMPLEMENTED
    title = "not supported"


class TooLarge(Problem):
    """The body or one of its parts is over a limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = grpc.StatusCode.INVALID_ARGUMENT
    title = "too large"


class NotAcceptable(Problem):
    """The client takes no media type that the task can answer in."""

    status = HTTPStatus.NOT_ACCEPTABLE
    code = grpc.StatusCode.INVALID_ARGUMENT
    title = "not acceptable"


class UnsupportedMedia(Problem):
    """The content type, or what the bytes turn out to be, is not accepted."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = grpc.StatusCode.INVALID_ARGUMENT
    title = "unsupported media type"


@dataclass
class Later(Problem):
    """The same request may succeed later."""

    retry_after_s: float | None = 1.0


class Overloaded(Later):
    """The queue is full, until it is expected to have room."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    title = "overloaded"


class RateExceeded(Later):
    """The caller's key has been used as often as it may be, for now."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    title = "rate exceeded"


class Unavailable(Later):
    """The model of this task is not loaded, or the service, which another replaces, shuts down."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = grpc.StatusCode.UNAVAILABLE
    title = "unavailable"


class TooLargeForMemory(Problem):
    """The model takes more memory than all models together may."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = grpc.StatusCode.FAILED_PRECONDITION
    title = "model too large"


class DeadlineExceeded(Problem):
    """The answer would come later than the client or the server allows."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    title = "deadline exceeded"


class ClientLeft(Problem):
    """Nobody waits for the answer. 499 is what nginx logs for it; it is not sent."""

    status = 499
    code = grpc.StatusCode.CANCELLED
    title = "client left"


def _is_name(part: str) -> bool:
    """Of a field, and not of a type: `list[str]`, `str`, a class are which member of a union."""
    built_in = part in ("bool", "bytes", "float", "int", "str")
    return part.isidentifier() and not built_in and not part[0].isupper()


def refusal(error: ValidationError) -> InvalidInput:
    """What pydantic found wrong, with the field and the limit in pydantic's words."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    # Each member of `str | list[str]` reports a fault. Meant is the one that is not about the type,
    # or that lies deepest: an element of the list, and not that a list is no string.
    fault = max(faults, key=lambda one: (not one["type"].endswith("_type"), len(one["loc"])))
    where = [
        str(part)
        for depth, part in enumerate(fault["loc"])
        if not depth or isinstance(part, int) or _is_name(part)
    ]
    return InvalidInput(fault["msg"].removeprefix("Value error, "), ".".join(where) or None)
