"""a form and its recording → what is said there: text as it comes, and the answer at last."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from math import inf
from time import monotonic
from typing import Any

from pydantic import ValidationError

from service.audio import length_s
from service.compat.openai.form import Translation
from service.compat.openai.models import TASK
from service.engine import Engine
from service.errors import refusal
from service.http_call import Call
from service.log_mel import WINDOW_S
from service.schema import Partial
from service.served import Served
from service.speech.long import Recording, transcribe
from service.speech.pieces import Cutting
from service.tasks.automatic_speech_recognition import Request, Response

Said = AsyncGenerator[str | Response, None]


def _asked(recording: bytes, fields: dict[str, Any]) -> Request:
    try:
        return Request(audio=recording, **fields)
    except ValidationError as error:
        raise refusal(error) from error


async def _whole(engine: Engine, asked: Request, call: Call, *, streamed: bool) -> Said:
    """One recording as one request, or the stream of it."""
    if not streamed:
        answer: Any = await engine.answer(TASK, asked, **call.asked())
        yield answer
        return
    certain = True
    async with aclosing(engine.stream(TASK, asked, **call.asked())) as stream:
        async for part in stream:
            if isinstance(part, Partial):
                # What is taken back cannot be unsaid: the whole text at the end has it right.
                certain = certain and not part.replaces
                if certain:
                    yield part.text
            elif isinstance(part, Response):
                yield part


def said(engine: Engine, model: Served, form: Translation, recording: bytes, call: Call) -> Said:
    """What comes of a recording: of a window as a whole, of a longer one piece by piece.

    Models without a decoder take it as a whole, too: they cut it on their own.
    """
    fields, cutting = {**form.fields(), "model": model.tag}, form.cutting
    long = cutting or (length_s(recording) or inf) > WINDOW_S
    if not long or model.task.generation is None:
        return _whole(engine, _asked(recording, fields), call, streamed=form.streamed)
    pieces = Recording(
        recording,
        _asked(b"-", fields),  # its pieces take the place of the recording
        max_duration_s=engine.settings.max_recording_s,
        deadline_s=monotonic() + call.left_s(),
        priority=call.priority,
        cutting=cutting or Cutting(),
    )
    return transcribe(engine, model, pieces)
