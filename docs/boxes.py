"""the store's detector, test scenes → docs/systems/detr.png: what it found, beside what is there.

`PYTHONPATH=. python docs/boxes.py --data-dir DIR` rewrites the picture.
"""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from models import evaluate
from models.datasets import Example
from service.settings import Settings
from service.tasks import task as task_of
from service.tasks.object_detection import Detection

TASK = "object-detection"
PICTURE = Path(__file__).parent / "systems" / "detr.png"
ROWS, COLUMNS = 3, 5


async def answers(some: Sequence[Example]) -> list[Sequence[Detection]]:
    """What the model of the store is sure of, of each request."""
    predict = await evaluate.from_store(task_of(TASK), Settings())
    sure = [each.request.model_copy(update={"threshold": 0.5}) for each in some]
    found: list[Any] = [await predict(request) for request in sure]
    return [answer.detections for answer in found]


def draw(axes: Axes, example: Example, found: Sequence[Detection]) -> None:
    """A scene with dotted boxes about what is there, and named ones about what was found."""
    request: Any = example.request
    axes.imshow(Image.open(io.BytesIO(request.image)))
    axes.set_axis_off()
    for detections, style in ((example.references[0], ":"), (found, "-")):
        for one in detections:
            box = one.box
            corner = (box.xmin - 0.5, box.ymin - 0.5)
            colour = "white" if style == ":" else "lime"
            width, height = box.xmax - box.xmin, box.ymax - box.ymin
            axes.add_patch(Rectangle(corner, width, height, fill=False, ec=colour, ls=style))
            if style == "-":
                said = f"{one.label} {one.score:.2f}"
                axes.text(*corner, said, color="black", backgroundcolor="lime", fontsize=6)


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder with the data sets.")] = Path("data"),
    out: Path = PICTURE,
) -> None:
    """Draw the first scenes of the test split."""
    some = evaluate.examples(task_of(TASK), data_dir, "test")[: ROWS * COLUMNS]
    figure = Figure(figsize=(2.6 * COLUMNS, 2.6 * ROWS), layout="constrained")
    places = figure.subplots(ROWS, COLUMNS).flat
    for axes, example, found in zip(places, some, asyncio.run(answers(some)), strict=True):
        draw(axes, example, found)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    typer.run(main)
