"""metrics.csv → metrics.png: loss and accuracy over the steps of a run."""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def plot_metrics(table: Path, picture: Path) -> None:
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure, (losses, accuracy) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in ("train_loss", "dev_loss"):
        losses.plot(steps, [float(row[name]) for row in rows], label=name)
    losses.set(xlabel="step", ylabel="loss")
    losses.legend()
    accuracy.plot(steps, [float(row["dev_accuracy"]) for row in rows])
    accuracy.set(xlabel="step", ylabel="dev_accuracy")
    figure.savefig(picture)
    pyplot.close(figure)
