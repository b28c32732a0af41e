"""figures of all tasks → the metrics table between two marks of README.md."""

from collections.abc import Mapping
from pathlib import Path

from models.evaluate import MEASURES
from service import manifest, store

BEGIN, END = "<!-- metrics: written by make evaluate -->", "<!-- end of metrics -->"


def lines(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """One row per task and group."""
    rows = ["| task | model | split | metric | value |", "|---|---|---|---|---|"]
    for task, groups in figures.items():
        folder = store.locate(task)
        model = "" if folder is None else manifest.read(folder).architecture
        for group, value in groups.items():
            rows.append(f"| {task} | {model} | {group} | {MEASURES[task].metric} | {value:.1f} |")
    return rows


def rewrite(readme: Path, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Replace what stands between the marks; raises ValueError if a mark is missing."""
    text = readme.read_text(encoding="utf-8")
    head, found, rest = text.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{readme} lacks the marks of the metrics table")
    table = "\n".join(lines(figures))
    readme.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")
