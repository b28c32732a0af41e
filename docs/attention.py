"""a running service → docs/attention: where each of its models attended in its task's example.

`python docs/attention.py` asks every model for the example with `explain`, as anybody can, draws
the maps and writes the list of them into docs/attention.md.
"""

import json
import subprocess
from pathlib import Path

from calls import URL, command, shown

from models.maps import draw
from service.http_body import binary_field
from service.listing import ListModelsResponse, Model
from service.tasks import task as task_of
from service.tasks.image_classification import square

PAGE = Path(__file__).parent / "attention.md"
PICTURES = Path(__file__).parent / "attention"
BEGIN, END = "<!-- maps: written by make attention -->", "<!-- end of maps -->"


def answered(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def explained(model: Model) -> str:
    """What the page says of a model: how it was asked, and its maps; nothing if it cannot tell."""
    task = task_of(model.task)
    words = command(task, model=model.name, explain=True)
    said = answered(words)
    if json.loads(said).get("field") == "explain":
        return ""
    maps = task.response.model_validate_json(said).attention
    names = [each.name for each in maps]
    parts = [f"## {model.name}\n", f"{model.card.architecture}, {model.task}\n",
             f"```sh\n{shown(words)}\n```\n"]  # fmt: skip
    for number, each in enumerate(maps):
        again = f"-{number}" if names.count(each.name) > 1 else ""
        file = PICTURES / f"{model.name}-{each.name}{again}.png"
        over_picture = each.axes[-1].name == "column"
        request = task.example()
        picture = square(getattr(request, binary_field(task) or "")) if over_picture else None
        draw(each, file, picture=picture)
        axes = " × ".join(f"{axis.size} {axis.name}" for axis in each.axes)
        parts.append(f"`{each.name}`: {axes}\n\n![{each.name}](attention/{file.name})\n")
    return "\n".join(parts)


def section() -> str:
    """All models of the service, by task and name."""
    listed = ListModelsResponse.model_validate_json(answered(["curl", "-s", f"{URL}/models"]))
    models = [model for model in listed.models if model.is_current]
    models.sort(key=lambda model: (model.task, model.name))
    return "\n".join(filter(None, map(explained, models)))


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{section()}\n{END}{tail}", encoding="utf-8")
