"""the speech task's answer → a body in the format that was asked for: JSON, text or subtitles."""

from collections.abc import Iterator
from math import ceil
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from service.compat.openai.form import Translation
from service.log_mel import HOP, RATE_HZ
from service.speech.languages import NAMES
from service.tasks.automatic_speech_recognition import Response as Answer


def usage(answer: Answer) -> dict[str, Any]:
    """What is counted: begun seconds of the recording."""
    return {"type": "duration", "seconds": ceil(answer.duration_s)}


def _time(time_s: float, comma: str) -> str:
    minutes, ms = divmod(round(time_s * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{comma}{ms % 1000:03}"


def _cues(answer: Answer, comma: str) -> Iterator[str]:
    """Each segment with its times; what would look like times is none in a text."""
    for segment in answer.segments:
        times = f"{_time(segment.start_s, comma)} --> {_time(segment.end_s, comma)}"
        yield f"{times}\n{segment.text.replace('-->', '->')}\n\n"


def srt(answer: Answer) -> str:
    return "".join(f"{number}\n{cue}" for number, cue in enumerate(_cues(answer, ","), 1))


def vtt(answer: Answer) -> str:
    return "WEBVTT\n\n" + "".join(_cues(answer, "."))


def verbose(answer: Answer, said: Translation) -> dict[str, Any]:
    """Everything that is known; a translation is said to be in the language it came out in."""
    task = said.fields()["task"]
    translated = task == "translate"
    body: dict[str, Any] = {
        "task": task,
        "language": "english" if translated else NAMES.get(answer.language, answer.language),
        "duration": answer.duration_s,
        "text": answer.text,
    }
    if "segment" in said.times:
        body["segments"] = [
            {
                "id": number,
                "seek": round(segment.start_s * RATE_HZ / HOP),
                "start": segment.start_s,
                "end": segment.end_s,
                "text": segment.text,
                "tokens": segment.tokens,
                "temperature": segment.temperature or 0.0,
                "avg_logprob": segment.avg_logprob or 0.0,
                "compression_ratio": segment.compression_ratio or 0.0,
                "no_speech_prob": segment.no_speech_prob or 0.0,
            }
            for number, segment in enumerate(answer.segments)
        ]
    if "word" in said.times:
        body["words"] = [
            {"word": word.text, "start": word.start_s, "end": word.end_s}
            for segment in answer.segments
            for word in segment.words
        ]
    return {**body, "usage": usage(answer)}


def shaped(answer: Answer, said: Translation) -> Response:
    match said.response_format:
        case "text":
            return PlainTextResponse(f"{answer.text}\n")
        case "srt":
            return PlainTextResponse(srt(answer))
        case "vtt":
            return PlainTextResponse(vtt(answer), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(verbose(answer, said))
        case _:
            return JSONResponse({"text": answer.text, "usage": usage(answer)})
