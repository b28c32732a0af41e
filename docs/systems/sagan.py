"""two training runs, with and without attention → the table of sagan.md and its pictures.

`PYTHONPATH=. python docs/systems/sagan.py RUN WITHOUT --data-dir DIR` asks both for as many
garments as the test split has, and rewrites what stands between the marks.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from models import checkpoint, frechet
from models.architectures import sagan
from models.datasets import Example
from models.datasets.fashion_mnist import CLASSES, examples
from models.reference import Reference
from service.tasks import unconditional_image_generation as task

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- figures: written by docs/systems/sagan.py -->", "<!-- end of figures -->"
HEAD = [
    "| | parameters | steps | Fréchet distance | show the class asked for, % |",
    "|---|---|---|---|---|",
]
COLUMNS, SIZE, GAP = 9, 56, 12
"""Of the grid: pictures of a class, pixels of each, and between the two halves."""


def drawn(model: sagan.Sagan, assets: task.Assets, asked: Sequence[Example]) -> list[bytes]:
    """The pictures that answer all requests, by the task's own code."""
    runner, files = Reference(sagan.graphs(model)), list[bytes]()
    for request in (example.request for example in asked):
        items = task.preprocess(request, assets)
        rows = task.forward(runner, assets, items)
        answer = task.postprocess(request, assets, items, rows)
        files += [picture.image for picture in answer.pictures]
    return files


def right(seen: frechet.Features, classes: Sequence[str]) -> float:
    """In how many of a hundred the classifier sees the class that was asked for."""
    found = frechet.classes(seen)
    return 100 * float(np.mean([CLASSES[i] == of for i, of in zip(found, classes, strict=True)]))


def grid(halves: Sequence[Sequence[bytes]], classes: Sequence[str]) -> Image.Image:
    """A line for each class; of each half of it, as many pictures as there are columns."""
    half = COLUMNS * SIZE + GAP
    page = Image.new("L", (half * len(halves) - GAP, SIZE * len(CLASSES)), "white")
    for place, files in enumerate(halves):
        for line, name in enumerate(CLASSES):
            of_class = [file for file, of in zip(files, classes, strict=True) if of == name]
            for column, file in enumerate(of_class[:COLUMNS]):
                picture = Image.open(io.BytesIO(file)).resize(
                    (SIZE, SIZE), Image.Resampling.NEAREST
                )
                page.paste(picture, (place * half + column * SIZE, line * SIZE))
    return page


def main(
    run: Path, without: Path, data_dir: Annotated[Path, typer.Option()] = Path("data")
) -> None:
    asked = list(examples(data_dir, "test"))
    classes = [example.request.label for example in asked for _ in example.references]
    files = [file for example in asked for file in example.references]
    real, lines, halves = frechet.features(files), list(HEAD), []
    for name, folder in (("with self-attention", run), ("without", without)):
        _, model = checkpoint.load_model(folder)
        assert isinstance(model, sagan.Sagan)
        found = drawn(model, task.load_assets(folder / "assets"), asked)
        count = sum(tensor.numel() for tensor in model.average.parameters())
        steps, seen = checkpoint.read(folder)["step"], frechet.features(found)
        lines.append(
            f"| {name} | {count / 1e6:.2f} M | {steps} | {frechet.between(seen, real):.2f} "
            f"| {right(seen, classes):.1f} |"
        )
        halves.append(found)
    nearest = frechet.between(real[::2], real[1::2])
    lines.append(f"| photographs | | | {nearest:.2f} | {right(real, classes):.1f} |")
    grid([halves[0], files], classes).save(PAGE.with_suffix(".png"), optimize=True)
    lines += ["", "![Drawn on the left, photographs on the right; a line is a class](sagan.png)"]
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    text = "\n".join(lines)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
