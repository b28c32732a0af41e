"""figures → pictures of lines: of a run's loss and accuracy over its steps, and of any others."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def plot_metrics(table: Path, picture: Path) -> None:
    # Imported where it is needed: what imports large models has no memory to spare for it.
    from matplotlib.figure import Figure

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    for name in ("train_loss", "dev_loss"):
        losses.plot(steps, [float(row[name]) for row in rows], label=name)
    losses.set(xlabel="step", ylabel="loss")
    losses.legend()
    accuracy.plot(steps, [float(row["dev_accuracy"]) for row in rows])
    accuracy.set(xlabel="step", ylabel="dev_accuracy")
    figure.savefig(picture)


def plot_lines(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    picture: Path,
    *,
    x: str,
    y: str,
    log: bool = False,
) -> None:
    """Points (x, y) of each line by its name; `log` is for x."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    if log:
        axes.set_xscale("log")
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
