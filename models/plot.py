"""metrics.csv → metrics.png: loss and accuracy over the steps of a run."""

import csv
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
