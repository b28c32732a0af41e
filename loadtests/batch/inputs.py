"""a task → a file or a folder with so many of its items."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

from service.batch.asking import content_field
from service.http_body import binary_field
from service.tasks import Task

TALE = """The old house near the river is closed today because nobody in our small town has a key
and the man who used to open it every morning went away with his dog last summer"""
FIXED: Mapping[str, dict[str, str]] = {"translation": {"source": "en", "target": "de"}}


def written(task: Task, items: int, folder: Path) -> Path:
    """An input of so many items: sentences of 3 to 30 words, or copies of the task's example."""
    if task.name == "translation":
        draw, words = random.Random(0), TALE.split()
        texts = (" ".join(draw.choices(words, k=draw.randint(3, 30))) for _ in range(items))
        path = folder / "in.txt"
        path.write_text("".join(f"{text}.\n" for text in texts))
        return path
    content, example = content_field(task), task.example()
    if binary_field(task) != content:
        path = folder / "in.jsonl"
        line = json.dumps(example.model_dump(mode="json", include={content}, exclude_unset=True))
        path.write_text(f"{line}\n" * items)
        return path
    path = folder / "in"
    path.mkdir()
    for number in range(items):
        (path / f"{number:06}").write_bytes(getattr(example, content))
    return path
