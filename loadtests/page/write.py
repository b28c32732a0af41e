"""results and their verdict → report.html, report.md, report.json and a PNG for each picture."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtests.page import sections
from loadtests.page.sections import Section
from loadtests.results import Comparison, Result
from loadtests.verdict import judge
from loadtests.verdict.judge import Row

State = Literal["void", "failed", "passed", "not judged"]
TEMPLATES = Path(__file__).with_name("templates")
PICTURES = "pictures"


def state_of(shown: Sequence[Section], rows: Sequence[Row]) -> State:
    """A void result outweighs every figure."""
    if any(section.void for section in shown):
        return "void"
    if judge.failed(rows):
        return "failed"
    return "passed" if any(row.met == "yes" for row in rows) else "not judged"


def write(
    results: Sequence[Result], shown: Sequence[Section], rows: Sequence[Row], folder: Path
) -> State:
    """Make the folder anew; results: at least one, in the order of their sections."""
    state = state_of(shown, rows)
    first = results[0]
    servers = [first.a, first.b] if isinstance(first, Comparison) else [first.server]
    content = {
        "state": state,
        "void": [reason for section in shown for reason in section.void],
        "rows": rows,
        "headlines": sections.headlines(results),
        "sections": shown,
        "machine": first.machine,
        "servers": servers,
        "began": first.began,
        "pictures": PICTURES,
    }
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    for section in shown:
        for picture in section.pictures:
            (folder / PICTURES / f"{picture.name}.png").write_bytes(picture.png)
    for name in ("report.html", "report.md"):
        templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            undefined=StrictUndefined,
            autoescape=name.endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters["cell"] = _cell
        text = templates.get_template(f"{name}.jinja").render(content)
        (folder / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    figures = {
        "state": state,
        "void": content["void"],
        "verdict": [row.model_dump() for row in rows],
        "machine": first.machine.model_dump(),
        "servers": [server.model_dump() for server in servers],
        "results": [section.figures for section in shown],
    }
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return state


def _cell(text: str) -> str:
    """Words that break no row of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
