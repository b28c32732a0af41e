"""Multi30k → how good a Universal Transformer is, and how many steps each token takes."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from models import checkpoint, evaluate
from models.catalogue import recipes
from models.datasets import multi30k
from models.reference import Reference
from models.sizes import parameters
from models.studies import table as markdown
from models.studies import trained
from service.settings import Settings
from service.tasks import Item, task
from service.tasks.translation import Request

RECIPE = "multi30k-universal"
SHOWN = "A man in an orange hat starring at something."
"""The first caption of the test split."""


def study(data_dir: Path, runs: Path) -> Mapping[str, Any]:
    """The run of the recipe, its BLEU, and the steps of the tokens of what it translated."""
    of, recipe = recipes()[RECIPE]
    splits = [
        multi30k.load(data_dir, split, run_dir=runs, seed=recipe.seed, options=recipe.data)
        for split in ("train", "dev")
    ]
    torch.manual_seed(recipe.seed)
    model = trained(of, recipe, of.presets[recipe.preset], (splits[0], splits[1]), runs)
    return {
        "parameters": parameters(model),
        "steps": recipe.steps,
        "max_steps": model.config.max_steps,
        "bleu": asyncio.run(_measured(runs, data_dir)),
        "mean_steps": _means(model, splits[1]),
        "shown": halting(runs, SHOWN),
    }


async def _measured(run_dir: Path, data_dir: Path) -> float:
    translation = task("translation")
    settings = Settings(timeout_s=evaluate.PATIENT_S)
    predict = await evaluate.from_checkpoint(translation, settings, run_dir)
    asked = list(multi30k.examples(data_dir, "test"))
    (bleu,) = (await evaluate.measure(predict, translation, asked)).values()
    return bleu


def _means(model: Any, dev: Any) -> Mapping[str, float]:
    """Steps of a token of the dev split, on either side."""
    sums = np.zeros(4)
    with torch.inference_mode():
        for number in range(len(dev)):
            batch = dev.batch(number)
            given = batch["source"], batch["source_lengths"], batch["target"]
            source, target = (thought.steps for thought in model.thoughts(*given))
            learnt = batch["labels"] >= 0
            sums += [source.sum(), (source > 0).sum(), target[learnt].sum(), learnt.sum()]
    return {
        "source": round(float(sums[0] / sums[1]), 2),
        "target": round(float(sums[2] / sums[3]), 2),
    }


def halting(run_dir: Path, text: str) -> Mapping[str, Sequence[tuple[str, int]]]:
    """Tokens of a sentence and of its translation, each with the steps that it took."""
    translation = task("translation")
    of, model = checkpoint.load_model(run_dir)
    runner = Reference(of.graphs(model))
    assets = translation.load_assets(run_dir / "assets")
    source, target = multi30k.DIRECTION
    request = Request(text=text, source=source, target=target, beam_size=1)
    (item,) = translation.preprocess(request, assets)
    (row,) = translation.forward(runner, assets, [item])
    given: Item = {
        "source": item["source"][None],
        "source_lengths": np.array([len(item["source"])]),
        "tokens": np.concatenate([item["prompt"], row["tokens"]])[None],
    }
    steps = runner.run("attention", given)
    # A position of the target is shown by the token that it foretells.
    shown = {
        "source": item["source"].tolist(),
        "target": [*row["tokens"].tolist(), assets.directions.end],
    }
    return {
        side: list(
            zip(assets.tokenizer.texts(tokens), steps[f"{side}_steps"][0].tolist(), strict=True)
        )
        for side, tokens in shown.items()
    }


def table(figures: Mapping[str, Any]) -> list[str]:
    means = figures["mean_steps"]
    return markdown(
        ["parameters", "sacreBLEU", "most steps", "mean of source tokens", "mean of target tokens"],
        [
            (
                f"{figures['parameters']:,}",
                f"{figures['bleu']:.1f}",
                figures["max_steps"],
                means["source"],
                means["target"],
            )
        ],
    )


def draw(figures: Mapping[str, Any], picture: Path) -> None:
    """A column for each token, as high as its steps."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    for axes, (side, tokens) in zip(figure.subplots(2, 1), figures["shown"].items(), strict=True):
        axes.bar(range(len(tokens)), [steps for _, steps in tokens])
        axes.set_xticks(range(len(tokens)), [token for token, _ in tokens], rotation=30, ha="right")
        axes.set(ylabel=f"steps, {side}", ylim=(0, figures["max_steps"]))
    figure.savefig(picture, dpi=120)
