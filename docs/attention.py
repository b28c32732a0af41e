"""a running service → docs/attention: where each of its models attended in its task's example.

`python docs/attention.py` asks every model for the example with `explain`, as anybody can, draws
the maps and writes the list of them into docs/attention.md.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from calls import URL, command, shown

from models.maps import draw
from service.http_body import binary_field
from service.listing import ListModelsResponse, Model
from service.schema import ResponseModel
from service.tasks import Task
from service.tasks import task as task_of
from service.tasks.image_classification import square

PAGE = Path(__file__).parent / "attention.md"
PICTURES = Path(__file__).parent / "attention"
BEGIN, END = "<!-- maps: written by make attention -->", "<!-- end of maps -->"


def answered(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def content(task: Task, answer: ResponseModel, index: int) -> bytes:
    """The picture that a map lies over: the one that was asked about, or one of the answer."""
    asked = binary_field(task)
    if asked:
        file: bytes = getattr(task.example(), asked)
        return file
    drawn: Any = answer
    return bytes(drawn.pictures[index].image)


def explained(model: Model) -> str:
    """What the page says of a model: how it was asked, and its maps; nothing if it cannot tell."""
    task = task_of(model.task)
    words = command(task, model=model.name, explain=True)
    said = answered(words)
    if json.loads(said).get("field") == "explain":
        return ""
    answer = task.response.model_validate_json(said)
    maps = answer.attention
    names = [each.name for each in maps]
    parts = [f"## {model.name}\n", f"{model.card.architecture}, {model.task}\n",
             f"```sh\n{shown(words)}\n```\n"]  # fmt: skip
    for number, each in enumerate(maps):
        again = f"-{number}" if names.count(each.name) > 1 else ""
        file = PICTURES / f"{model.name}-{each.name}{again}.png"
        over_picture = each.axes[-1].name == "column"
        picture = square(content(task, answer, each.index)) if over_picture else None
        draw(each, file, picture=picture)
        axes = " × ".join(f"{axis.size} {axis.name}" for axis in each.axes)
        parts.append(f"`{each.name}`: {axes}\n\n![{each.name}](attention/{file.name})\n")
    return "\n".join(parts)


def named(part: str) -> str:
    """The model of a part of the page."""
    return part.splitlines()[0].removeprefix("## ")


def order(part: str) -> tuple[str, str]:
    """By task and name."""
    return part.splitlines()[2].split(", ")[1], named(part)


def section(before: str) -> str:
    """All models of the service, by task and name; what it has not stays as it was."""
    listed = ListModelsResponse.model_validate_json(answered(["curl", "-s", f"{URL}/models"]))
    models = [model for model in listed.models if model.is_current]
    told = {model.name: explained(model) for model in models}
    parts = ["## " + part.rstrip() + "\n" for part in f"\n{before}".split("\n## ")[1:]]
    parts = [part for part in parts if named(part) not in told]
    return "\n".join(sorted([*parts, *filter(None, told.values())], key=order))


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    before, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{section(before)}\n{END}{tail}", encoding="utf-8")
