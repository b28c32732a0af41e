"""`python -m loadtests.peers.lengths`: softmax and linear attention → a step as texts grow.

Time and memory of a decoding step of two translation models of equal sizes, exported and served as
all are, after more and more tokens. Weights make no difference to either, so they are random.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import torch
import typer
from rich.progress import track
from torch import nn

mpl.use("Agg")
from matplotlib import pyplot as plt

from export.model import export_model
from export.source import Trained
from loadtests.peers.lowered import NO_DATA
from models.catalogue import Architecture, architecture
from service.session import Model, Runner
from service.slots import Slots
from service.store import open_model
from service.tasks import task as task_named

MODELS = {"softmax": "transformer", "linear": "linear_attention"}
COLOURS = {"softmax": "#d1495b", "linear": "#00798c"}
LENGTHS = (64, 256, 1_024, 2_048, 4_096, 8_192, 16_384)
"""Tokens that each row has behind it."""
PRESET = "small"
SOURCE_TOKENS = 32
ROWS = 8
STEPS = 20
"""At each length and turn."""
BEGIN, END = "<!-- lengths: written by make bench-lengths -->", "<!-- end of lengths -->"
app = typer.Typer(add_completion=False)
Figures = dict[str, dict[int, dict[str, float]]]
"""Attention → length → figure."""


def exported(of: Architecture, model: nn.Module, folder: Path, *, threads: int) -> Model:
    """A translation model as it is served."""
    trained = Trained(of, model.eval(), assets=[], data=NO_DATA, recipe={})
    export_model(trained, name=folder.name, target="cpu", folder=folder)
    opened, _ = open_model(folder, task_named("translation"), threads=threads)
    return opened


def softmax_or_linear(name: str, folder: Path, *, longest: int, threads: int) -> Model:
    """The model of an architecture, with positions for so many tokens."""
    of = architecture(name)
    torch.manual_seed(0)
    model = of.build(replace(of.presets[PRESET], max_len=longest + STEPS))
    return exported(of, model, folder / name, threads=threads)


def behind(model: Runner, length: int) -> Slots:
    """Rows that have so many tokens behind them; what these were does not matter."""
    slots = Slots(model, rows=ROWS, max_len=length + STEPS)
    lengths = np.full(ROWS, SOURCE_TOKENS)
    source = np.arange(ROWS * SOURCE_TOKENS).reshape(ROWS, -1)
    encoded = model.run("encoder", {"source": source, "source_lengths": lengths})
    slots.fill(0, [1] * ROWS, encoded | {"source_lengths": lengths})
    for array in slots.caches.values():
        array.fill(0.5)
    slots.lengths[:] = length
    return slots


def step_s(model: Runner, length: int) -> float:
    """The median time of a step after so many tokens."""
    slots = behind(model, length)
    slots.step([5] * ROWS)  # binds and warms
    slots.lengths[:] = length
    times = []
    for _ in range(STEPS):
        start_s = perf_counter()
        slots.step([5] * ROWS)
        times.append(perf_counter() - start_s)
    return median(times)


def row_bytes(model: Runner, length: int) -> int:
    """What a row keeps from step to step; what it got of the source comes on top of both."""
    slots = behind(model, length)
    cached = sum(array[:, :, :length].nbytes for array in slots.caches.values())
    states = sum(array.nbytes for copy in slots.states for array in copy.values())
    return (cached + states) // ROWS


def measured(models: dict[str, Model], lengths: tuple[int, ...], *, turns: int) -> Figures:
    """Lengths and models take turns, as the machine drifts; medians."""
    times: dict[tuple[str, int], list[float]] = {}
    for _ in track(range(turns), "stepping"):
        for length in lengths:
            for name, model in models.items():
                times.setdefault((name, length), []).append(step_s(model, length))
    return {
        name: {
            length: {
                "step_ms": round(median(times[name, length]) * 1e3, 3),
                "row_kib": round(row_bytes(model, length) / 1024, 1),
            }
            for length in lengths
        }
        for name, model in models.items()
    }


def draw(figures: Figures, file: Path) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2))
    texts = {"step_ms": f"ms, a step of {ROWS} rows", "row_kib": "KiB that a row keeps"}
    for panel, (key, text) in zip(panels, texts.items(), strict=True):
        for name, by_length in figures.items():
            values = [each[key] for each in by_length.values()]
            panel.plot(list(by_length), values, "o-", color=COLOURS[name], ms=3, label=name)
        panel.set(xlabel="tokens before", ylabel=text, xscale="log", yscale="log")
        panel.set_xticks(list(figures["linear"]), [str(n) for n in figures["linear"]], rotation=45)
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)


def table(figures: Figures, threads: int) -> str:
    """The lines between the marks."""
    lines = [
        f"Steps of {ROWS} rows, {threads} threads, medians; the two models have the same sizes.",
        "",
        "| tokens before | softmax, ms | linear, ms | softmax, KiB a row | linear, KiB a row |",
        "|---|---|---|---|---|",
    ]
    for length, softmax in figures["softmax"].items():
        linear = figures["linear"][length]
        cells = [each[key] for key in ("step_ms", "row_kib") for each in (softmax, linear)]
        ms, kib = cells[:2], cells[2:]
        lines.append(
            f"| {length:,} | {' | '.join(f'{x:.2f}' for x in ms)} "
            f"| {' | '.join(f'{x:,.0f}' for x in kib)} |"
        )
    return "\n".join(lines)


def rewritten(text: str, lines: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with these lines between its marks; raises ValueError if one is missing."""
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError("the page lacks the marks of the table")
    return f"{head}{begin}\n{lines}\n{end}{tail}"


@app.command()
def main(
    threads: Annotated[int, typer.Option(min=1)] = 2,
    turns: Annotated[int, typer.Option(min=1)] = 7,
    longest: Annotated[int, typer.Option(min=64, help="Leave out what is longer.")] = LENGTHS[-1],
    docs: Annotated[Path, typer.Option(help="Where page and plot go.")] = Path("docs"),
) -> None:
    """Measure; write benchmarks/lengths.json, .png and the table in systems/linear_attention.md."""
    lengths = tuple(length for length in LENGTHS if length <= longest)
    with TemporaryDirectory() as made:
        models = {
            name: softmax_or_linear(of, Path(made), longest=longest, threads=threads)
            for name, of in MODELS.items()
        }
        figures = measured(models, lengths, turns=turns)
    page, benchmarks = docs / "systems" / "linear_attention.md", docs / "benchmarks"
    benchmarks.mkdir(exist_ok=True)
    page.write_text(rewritten(page.read_text("utf-8"), table(figures, threads)), "utf-8")
    found: dict[str, Any] = {"rows": ROWS, "threads": threads, "turns": turns, **figures}
    (benchmarks / "lengths.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    draw(figures, benchmarks / "lengths.png")
    typer.echo(table(figures, threads))


if __name__ == "__main__":
    app()
