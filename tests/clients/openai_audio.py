"""openai 3.54 against a service: models, transcriptions and translations, plain and streamed.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import asyncio
import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

base = f"http://127.0.0.1:{sys.argv[1]}/v1"
client = openai.OpenAI(base_url=base, api_key="any", max_retries=0)
speech = Path(sys.argv[3]) / "speech.flac"
TEXT = "Good morning.   Open the window, please."
"""As the scripted model has it where times are not wanted."""


def refused(kind: type[openai.APIStatusError], ask: Callable[[], Any]) -> openai.APIStatusError:
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def transcribe(**fields: Any) -> Any:
    return client.audio.transcriptions.create(**{"file": speech, "model": "whisper-1", **fields})


# Models.
ids = [model.id for model in client.models.list()]
assert ids == ["automatic-speech-recognition", "whisper-1"]
assert client.models.retrieve("whisper-1").object == "model"
missing = refused(openai.NotFoundError, lambda: client.models.retrieve("org/other"))
assert missing.code == "model_not_found", missing.body
assert missing.param == "model"
assert "'org/other'" in missing.message

# Formats.
plain = transcribe()
assert plain.text == TEXT, plain
assert plain.usage.type == "duration"
assert plain.usage.seconds == 5
assert transcribe(response_format="text") == f"{TEXT}\n"
assert transcribe(language="en", model=ids[0]).text == TEXT
assert transcribe(file=("a.flac", speech.read_bytes())).text == TEXT

TIMED = "Good morning. Open the window, please."
assert transcribe(prompt="It is.").text.endswith("the window, please.")
said = transcribe(response_format="verbose_json", temperature=0)
assert (said.task, said.language, said.text) == ("transcribe", "english", TIMED), said
assert [(s.id, s.start, s.end, s.text) for s in said.segments] == [
    (0, 0.0, 2.0, "Good morning."),
    (1, 2.0, 4.4, "Open the window, please."),
]
first = said.segments[0]
assert (first.seek, first.temperature) == (0, 0.0)
assert -0.1 < first.avg_logprob <= 0
assert 0 <= first.no_speech_prob < 0.1
assert 0 < first.compression_ratio < 2.4
assert first.tokens
assert transcribe(
    response_format="verbose_json", timestamp_granularities=["segment"], language="english"
).segments
worded = transcribe(
    response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en"
)
assert " ".join(word.word for word in worded.words) == TIMED
times = [time for word in worded.words for time in (word.start, word.end)]
assert times == sorted(times), worded.words
assert 0 <= times[0] < times[-1] <= worded.duration
assert (worded.segments[0].start, worded.segments[-1].end) == (times[0], times[-1])
alone = transcribe(response_format="verbose_json", timestamp_granularities=["word"])
assert alone.words == worded.words
assert alone.segments is None
assert transcribe(response_format="verbose_json").words is None
assert transcribe(response_format="srt") == (
    "1\n00:00:00,000 --> 00:00:02,000\nGood morning.\n\n"
    "2\n00:00:02,000 --> 00:00:04,400\nOpen the window, please.\n\n"
)
assert transcribe(response_format="vtt") == (
    "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nGood morning.\n\n"
    "00:00:02.000 --> 00:00:04.400\nOpen the window, please.\n\n"
)

# Cut where nobody speaks.
vad = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100, "silence_duration_ms": 500}
for strategy in ("auto", vad):
    assert transcribe(chunking_strategy=strategy).text == TIMED
*deltas, last = transcribe(chunking_strategy="auto", stream=True)
assert "".join(event.delta for event in deltas) == last.text == TIMED
silence = io.BytesIO()
with wave.open(silence, "wb") as file:
    file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
    file.writeframes(bytes(2 * 16_000 * 40))
nothing = transcribe(file=("s.wav", silence.getvalue()), response_format="verbose_json")
assert (nothing.text, nothing.segments, nothing.duration) == ("", [], 40.0)

# Events.
*deltas, last = transcribe(stream=True)
assert {event.type for event in deltas} == {"transcript.text.delta"}
assert len(deltas) > 5, deltas
assert last.type == "transcript.text.done"
assert "".join(event.delta for event in deltas) == last.text == TEXT


async def streamed() -> list[str]:
    async with openai.AsyncOpenAI(base_url=base, api_key="any") as other:
        events = await other.audio.transcriptions.create(
            file=speech, model="whisper-1", stream=True
        )
        return [event.type async for event in events]


assert asyncio.run(streamed())[-1] == "transcript.text.done"

# Errors.
for fields, param in (
    ({"model": "gpt-4o-transcribe"}, "model"),
    ({"language": "zz"}, "language"),
    ({"response_format": "xml"}, "response_format"),
    ({"file": ("a.flac", b"fLaC")}, "file"),
    ({"file": ("a.flac", b"")}, "file"),
    ({"file": ("a.txt", b"words")}, "file"),
    ({"extra_body": {"colour": "red"}}, "colour"),
    ({"stream": True, "language": "zz"}, "language"),
    ({"stream": True, "response_format": "srt"}, "stream"),
    ({"timestamp_granularities": ["segment"]}, "timestamp_granularities"),
    ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
    (
        {"response_format": "verbose_json", "timestamp_granularities": ["letter"]},
        "timestamp_granularities.0",
    ),
    ({"temperature": 1.5}, "temperature"),
    ({"chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
    ({"chunking_strategy": {**vad, "threshold": 2}}, "chunking_strategy.threshold"),
    ({"prompt": "x" * 4_001}, "prompt"),
    ({"include": ["logprobs"]}, "include"),
):
    error = refused(openai.APIStatusError, lambda fields=fields: transcribe(**fields))
    assert error.param == param, (fields, error.body)
    assert error.status_code in (404, 415, 422), (fields, error.status_code)
    assert error.type == "invalid_request_error"
    assert error.body["message"] in error.message
english = refused(
    openai.UnprocessableEntityError,
    lambda: client.audio.translations.create(file=speech, model="whisper-1"),
)
assert "English-only" in english.message, english
