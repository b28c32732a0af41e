"""the speech task's answer → a body in the format that was asked for."""

from math import ceil
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from service.compat.openai.form import Format
from service.tasks.automatic_speech_recognition import Response as Answer


def usage(answer: Answer) -> dict[str, Any]:
    """What is counted: begun seconds of the recording."""
    return {"type": "duration", "seconds": ceil(answer.duration_s)}


def shaped(answer: Answer, wanted: Format) -> Response:
    if wanted == "text":
        return PlainTextResponse(f"{answer.text}\n")
    return JSONResponse({"text": answer.text, "usage": usage(answer)})
