"""Studies, one file each: what is compared is trained, and the figures go into docs/systems.

`python -m models study NAME` goes on where it was stopped. The figures stand as a table between two
marks of the page NAME.md, and in its folder `studies` as JSON and as a picture.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from models import checkpoint
from models.catalogue import Architecture
from models.datasets import Dataset
from models.recipe import Recipe
from models.train import fit

BEGIN, END = "<!-- figures: written by python -m models study -->", "<!-- end of figures -->"
Study = Callable[[Path, Path], Mapping[str, Any]]
"""Folder of the data sets, folder of the runs → the figures."""
Row = Sequence[str | int | float]


def names() -> list[str]:
    files = Path(__file__).parent.glob("[a-z]*.py")
    return sorted(path.stem for path in files)


def write(name: str, *, data_dir: Path, runs: Path, docs: Path) -> None:
    """Do a study and write its figures; raises ValueError if its page lacks the marks."""
    study = import_module(f"models.studies.{name}")
    page, folder = docs / f"{name}.md", docs / "studies"
    between(page, [])
    figures = study.study(data_dir, runs / name)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    study.draw(figures, folder / f"{name}.png")
    between(page, study.table(figures))


def between(page: Path, lines: Sequence[str]) -> None:
    """Put lines between the marks of a page, if there are any; raises ValueError without marks."""
    text = page.read_text(encoding="utf-8")
    head, found, rest = text.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{page} lacks the marks of the figures")
    if lines:
        body = "\n".join(lines)
        page.write_text(f"{head}{BEGIN}\n{body}\n{END}{tail}", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [list(map(str, row)) for row in (head, ["---"] * len(head), *rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def trained(
    of: Architecture,
    recipe: Recipe,
    config: Any,
    splits: tuple[Dataset, Dataset],
    run_dir: Path,
) -> Any:
    """The model of a run, which is trained, or trained further, unless it is finished."""
    run_dir.mkdir(parents=True, exist_ok=True)
    begun = (run_dir / checkpoint.NAME).exists()
    if not begun or checkpoint.read(run_dir)["step"] < recipe.steps:
        seeded = of.build(config)
        fit(of, recipe, seeded, splits, run_dir=run_dir, resume=begun)
    _, model = checkpoint.load_model(run_dir)
    return model
