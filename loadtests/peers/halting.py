"""`python -m loadtests.peers.halting`: a Universal Transformer → its time by the step it halts at.

Encoder and decoding step of models that are exported and served as all are. Weights make no
difference to the time, so they are random but for the halting: every token halts at the same step.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track

from loadtests.peers.lengths import PRESET, ROWS, SOURCE_TOKENS, behind, exported, rewritten
from models.catalogue import architecture
from models.halting import Halting
from service.session import Model

BEHIND = 16
"""Tokens that each row has translated."""
RUNS = 20
"""Of each graph at each turn."""
BEGIN, END = "<!-- halting: written by make bench-halting -->", "<!-- end of halting -->"
app = typer.Typer(add_completion=False)
Figures = dict[int, dict[str, float]]
"""Step at which all halt → graph → milliseconds."""


def halts_after(steps: int, folder: Path, *, threads: int) -> Model:
    """A model whose tokens all halt after so many steps, the most among them."""
    of = architecture("universal_transformer")
    torch.manual_seed(0)
    model = of.build(of.presets[PRESET])
    # So many of these add up to one, and fewer do not reach the threshold.
    share = torch.logit(torch.tensor(1 / steps), eps=1e-3)
    with torch.no_grad():
        for halting in model.modules():
            if isinstance(halting, Halting):
                halting.weight.zero_()
                halting.bias.copy_(share)
    return exported(of, model, folder / f"after-{steps}", threads=threads)


def encoding(model: Model) -> Callable[[], object]:
    """The encoder on a batch."""
    source = np.arange(ROWS * SOURCE_TOKENS).reshape(ROWS, -1)
    given = {"source": source, "source_lengths": np.full(ROWS, SOURCE_TOKENS)}
    return lambda: model.run("encoder", given)


def decoding(model: Model) -> Callable[[], object]:
    """A step of a batch that has something behind it."""
    slots = behind(model, BEHIND)

    def step() -> None:
        slots.lengths[:] = BEHIND
        slots.step([5] * ROWS)

    return step


GRAPHS = {"encoder": encoding, "decoder": decoding}


def median_ms(run: Callable[[], object]) -> float:
    run()  # binds and warms
    times = []
    for _ in range(RUNS):
        start_s = perf_counter()
        run()
        times.append(perf_counter() - start_s)
    return median(times) * 1e3


def measured(models: Mapping[int, Model], *, turns: int) -> Figures:
    """Models and graphs take turns, as the machine drifts; medians."""
    runs = {
        steps: {graph: of(each) for graph, of in GRAPHS.items()} for steps, each in models.items()
    }
    times: dict[tuple[int, str], list[float]] = defaultdict(list)
    for _ in track(range(turns), "thinking"):
        for steps, graphs in runs.items():
            for graph, run in graphs.items():
                times[steps, graph].append(median_ms(run))
    return {
        steps: {graph: round(median(times[steps, graph]), 3) for graph in GRAPHS}
        for steps in models
    }


def table(figures: Figures, threads: int) -> str:
    """The lines between the marks."""
    longest = figures[max(figures)]
    lines = [
        f"Batches of {ROWS} rows, sources of {SOURCE_TOKENS} tokens, {threads} threads, medians.",
        "",
        "| all halt after | encoder, ms | of the longest | decoding step, ms | of the longest |",
        "|---|---|---|---|---|",
    ]
    for steps, found in figures.items():
        cells = (
            f"{found[graph]:.2f} | {found[graph] / longest[graph]:.0%}".replace("%", " %")
            for graph in GRAPHS
        )
        lines.append(f"| {steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


@app.command()
def main(
    threads: Annotated[int, typer.Option(min=1)] = 2,
    turns: Annotated[int, typer.Option(min=1)] = 7,
    docs: Annotated[Path, typer.Option(help="Where figures and page are.")] = Path("docs"),
) -> None:
    """Measure; write benchmarks/halting.json and the table in systems/universal_transformer.md."""
    most = architecture("universal_transformer").presets[PRESET].max_steps
    with TemporaryDirectory() as made:
        models = {
            steps: halts_after(steps, Path(made), threads=threads) for steps in range(1, most + 1)
        }
        figures = measured(models, turns=turns)
    lines = table(figures, threads)
    page = docs / "systems" / "universal_transformer.md"
    page.write_text(rewritten(page.read_text("utf-8"), lines, BEGIN, END), "utf-8")
    found = {"rows": ROWS, "threads": threads, "turns": turns, "steps": figures}
    (docs / "benchmarks" / "halting.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    typer.echo(lines)


if __name__ == "__main__":
    app()
