"""multipart form of OpenAI's audio API → a typed request, or the field that is to blame.

https://platform.openai.com/docs/api-reference/audio
"""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from service.errors import InvalidInput, UnsupportedMedia, refusal
from service.http_body import chunks, form_items

Format = Literal["json", "text"]
FILE = "file"


class Translation(BaseModel):
    """Translate speech into English; the recording is the part `file`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(max_length=256, description="An id of /v1/models, as whisper-1.")
    response_format: Format = "json"


class Transcription(Translation):
    """Transcribe speech; the recording is the part `file`."""

    language: str | None = Field(default=None, max_length=8, description="As en; else it is heard.")
    stream: bool = Field(default=False, description="Server-Sent Events; for json and text.")


F = TypeVar("F", bound=Translation)


async def read(request: Request, form: type[F], limit_bytes: int) -> tuple[F, bytes]:
    """The fields and the recording; raises a Problem that names the field."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "multipart/form-data":
        raise UnsupportedMedia("send multipart/form-data with a part file", "body")
    values: dict[str, Any] = {}
    for name, value in await form_items(request.headers, chunks(request, limit_bytes)):
        values[name] = value
    recording = values.pop(FILE, None)
    if not isinstance(recording, bytes):
        raise InvalidInput("send the recording as a file part of this name", FILE)
    if not recording:
        raise InvalidInput("the file is empty", FILE)
    try:
        return form.model_validate(values), recording
    except ValidationError as error:
        raise refusal(error) from error
