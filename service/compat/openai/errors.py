"""a problem → the error that OpenAI's clients read: message, type, param and code."""

from starlette.responses import Response

from service.errors import InvalidInput, MalformedRequest, NotFound, Overloaded, Problem
from service.http_call import problem_response

CODES: dict[type[Problem], str] = {
    InvalidInput: "invalid_value",
    MalformedRequest: "invalid_request",
    NotFound: "model_not_found",
    Overloaded: "rate_limit_exceeded",
}
"""What clients tell errors apart by, where the title does not do."""
PARAMS = {"audio": "file", "words": "timestamp_granularities"}
"""Fields of the task whose names are others here."""


def shaped(problem: Problem) -> dict[str, str | None]:
    """The `error` of an answer, or of an event."""
    param = PARAMS.get(problem.field or "", problem.field)
    message = f"{param}: {problem.detail}" if param else problem.detail
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    code = CODES.get(type(problem), problem.title.replace(" ", "_"))
    return {"message": message, "type": kind, "param": param, "code": code}


def refuse(problem: Problem, path: str) -> Response:
    """The SDK tries 408, 409, 429 and 5xx again, unless told that it makes no sense."""
    response = problem_response(problem, path, shaped(problem))
    if problem.retry_after_s is None:
        response.headers["x-should-retry"] = "false"
    return response
