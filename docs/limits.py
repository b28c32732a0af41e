"""settings, tasks and surfaces → docs/limits.md: everything that a request may not exceed.

`python docs/limits.py` rewrites the table; a test compares it with the code.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service import audio, explanation, picture, pixels
from service.compat.libretranslate import docx, said, translate_file
from service.compat.oip import raw, tensors, whole
from service.live import incoming
from service.settings import Settings
from service.tasks import (
    Task,
    audio_classification,
    automatic_speech_recognition,
    tasks,
    translation,
)

PAGE = Path(__file__).parent / "limits.md"
BEGIN, END = "<!-- limits: written by docs/limits.py -->", "<!-- end of limits -->"
BOUNDS = {
    "maxLength": "characters",
    "maxItems": "items",
    "maximum": "",
    "exclusiveMaximum": "",
}
"""Words of JSON Schema that set an upper limit → what they count."""
SWITCHED = {
    "max_body_bytes": ("body", "bytes as they come", "413"),
    "max_unpacked_bytes": ("body", "bytes after gzip or deflate", "413"),
    "max_json_depth": ("body", "arrays and objects in each other", "400"),
    "max_tensor_elements": ("inputs.NAME.shape", "elements of a tensor (OIP)", "400"),
}
STREAMS = {
    "live_streams": ("streams of live speech", "429"),
    "live_duration_s": ("s of one stream", "413"),
    "live_idle_s": ("s without audio", "504"),
}
FIXED = (
    ("image", f"{picture.MAX_MEGAPIXELS} megapixels", "those with a picture", "413"),
    ("image", f"{pixels.MAX_STRETCH} times as long as wide", "image-classification", "422"),
    ("audio", f"{audio_classification.MAX_DURATION_S} s", "audio-classification", "413"),
    ("audio", f"{automatic_speech_recognition.MAX_DURATION_S} s", "automatic-speech-recognition",
     "413"),
    ("audio", f"{audio.MIN_RATE_HZ} to {audio.MAX_RATE_HZ} Hz, {audio.MAX_CHANNELS} channels",
     "both with audio", "415"),
    ("text", f"sentences of {translation.MAX_SENTENCE_TOKENS} tokens; longer ones are cut",
     "translation", "-"),
    ("inputs.NAME.shape", f"{tensors.MAX_AXES} axes", "OIP", "400"),
    ("inputs.NAME", f"{tensors.MAX_DEPTH} lists in each other", "OIP", "400"),
    ("inputs.NAME", f"{whole.MAX_ELEMENTS} texts or files", "OIP, a task", "413"),
    ("inputs.NAME", f"{raw.MAX_ROWS} rows", "OIP, a graph", "422"),
    ("audio", f"{incoming.MAX_CHUNK_BYTES} bytes at a time", "live speech", "413"),
    ("rate_hz", f"{incoming.MIN_RATE_HZ} to {incoming.MAX_RATE_HZ}", "live speech", "422"),
    ("q", f"{translation.MAX_TEXT_CHARS} characters of a text, {translation.MAX_TEXTS} texts",
     "LibreTranslate", "400"),
    ("glossary", f"{said.MAX_TERMS} terms of {said.MAX_TERM_CHARS} characters", "LibreTranslate",
     "400"),
    ("file", f"{translate_file.MAX_DOCUMENT_CHARS} characters", "LibreTranslate", "400"),
    ("file", f"{translate_file.MAX_PAGE_BYTES} bytes of .txt or .html", "LibreTranslate", "413"),
    ("file", f"{docx.MOST_FILES} files in a .docx, unpacked as much as a body", "LibreTranslate",
     "413"),
    ("explain", f"{explanation.MAX_ITEMS} sentences, pieces or windows", "all", "422"),
    ("explain", f"{explanation.MAX_WEIGHTS} weights in the answer", "all", "422"),
    ("body", "32 fields and one file of a form", "all", "400"),
)  # fmt: skip


def _bounds(schema: dict[str, Any], *, binary: bool) -> Iterator[str]:
    for word, counted in BOUNDS.items():
        if word in schema:
            unit = "bytes" if binary and word == "maxLength" else counted
            yield f"{schema[word]:,} {unit}".strip().replace(",", " ")
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _bounds(inner, binary=binary)


def of_task(task: Task) -> Iterator[tuple[str, str, str, str]]:
    """Field, limit, where and status, from the task's own model."""
    for name, schema in task.request.model_json_schema()["properties"].items():
        binary = task.request.model_fields[name].annotation is bytes
        for bound in dict.fromkeys(_bounds(schema, binary=binary)):
            yield name, bound, task.name, "422"


def table() -> str:
    """The rows of both tables."""
    lines = ["| field | at most | setting | status |", "|---|---|---|---|"]
    for name, (field, what, status) in SWITCHED.items():
        value = f"{Settings.model_fields[name].default:,}".replace(",", " ")
        lines.append(f"| `{field}` | {value} {what} | `ATTENDANT_{name.upper()}` | {status} |")
    for name, (what, status) in STREAMS.items():
        value = f"{Settings.model_fields[name].default:g}"
        lines.append(f"| `audio` | {value} {what} | `ATTENDANT_{name.upper()}` | {status} |")
    lines += ["", "| field | at most | of | status |", "|---|---|---|---|"]
    rows = [*(row for task in tasks() for row in of_task(task)), *FIXED]
    lines += [
        f"| `{field}` | {limit} | {where} | {status} |" for field, limit, where, status in rows
    ]
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The page's text with the tables as they should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
