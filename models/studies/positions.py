"""five ways to tell positions → how each translates captions longer than all that it learnt from.

The same Transformer learns the captions of Multi30k of up to `LONGEST` tokens with each. Captions
of its training split that are longer teach nothing here, and so they test, beside those of the test
split.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from models import evaluate
from models.catalogue import recipes
from models.datasets import Example, multi30k
from models.datasets._translations import REQUEST_SENTENCES, Pairs
from models.plot import plot_lines
from models.sizes import parameters
from models.studies import table as markdown
from models.studies import trained
from service.settings import Settings
from service.subwords import TOKENIZER
from service.tasks import task
from service.tasks.translation import Request

WAYS = ("sinusoidal", "learned", "relative", "rotary", "floater")
LONGEST = 20
"""Tokens of a side in training, with the two around them."""
LENGTHS = ((3, 20), (21, 24), (25, 29), (30, 36), (37, 96))
"""Of the longer side; the first are those of training."""
SENTENCES = 320
"""At most, of each range."""
STEPS = 500


def study(data_dir: Path, runs: Path) -> Mapping[str, Any]:
    """A run for each way, and its BLEU by length."""
    of, recipe = recipes()["multi30k"]
    recipe = replace(recipe, steps=STEPS, data={**recipe.data, "max_tokens": LONGEST})
    rows = []
    for way in WAYS:
        run_dir, config = runs / way, replace(of.presets[recipe.preset], positions=way)
        train, dev = (
            multi30k.load(data_dir, split, run_dir=run_dir, seed=recipe.seed, options=recipe.data)
            for split in ("train", "dev")
        )
        torch.manual_seed(recipe.seed)
        model = trained(of, recipe, config, (train, dev), run_dir)
        rows.append(
            {
                "positions": way,
                "parameters": parameters(model),
                "steps": recipe.steps,
                "bleu": asyncio.run(_measured(run_dir, data_dir)),
            }
        )
    return {"longest": LONGEST, "lengths": LENGTHS, "runs": rows}


async def _measured(run_dir: Path, data_dir: Path) -> Mapping[str, float]:
    translation = task("translation")
    settings = Settings(timeout_s=evaluate.PATIENT_S)
    predict = await evaluate.from_checkpoint(translation, settings, run_dir)
    tokenizer = Tokenizer.from_file(str(run_dir / "assets" / TOKENIZER))
    return await evaluate.measure(predict, translation, list(examples(data_dir, tokenizer)))


def examples(data_dir: Path, tokenizer: Tokenizer) -> Iterator[Example]:
    """Captions by the tokens of their longer side, none of which was learnt."""
    test, train = (multi30k.read_pairs(data_dir, split) for split in ("test", "train"))
    lengths = _lengths([*test, *train], tokenizer)
    for number, (shortest, longest) in enumerate(LENGTHS):
        known = len(test) if number == 0 else len(lengths)
        chosen = [
            pair
            for pair, length in zip([*test, *train][:known], lengths, strict=False)
            if shortest <= length <= longest
        ][:SENTENCES]
        source, target = multi30k.DIRECTION
        for start in range(0, len(chosen), REQUEST_SENTENCES):
            some = chosen[start : start + REQUEST_SENTENCES]
            request = Request(text=[a for a, _ in some], source=source, target=target)
            yield Example(f"{shortest} to {longest}", request, [b for _, b in some])


def _lengths(pairs: Pairs, tokenizer: Tokenizer) -> Sequence[int]:
    sides = (tokenizer.encode_batch([pair[side] for pair in pairs]) for side in (0, 1))
    return [2 + max(len(a.ids), len(b.ids)) for a, b in zip(*sides, strict=True)]


def table(figures: Mapping[str, Any]) -> list[str]:
    """A row for each way, a column for each range."""
    groups = list(figures["runs"][0]["bleu"])
    rows = [
        (
            run["positions"],
            f"{run['parameters']:,}",
            *(f"{run['bleu'][each]:.1f}" for each in groups),
        )
        for run in figures["runs"]
    ]
    heads = [f"{each} tokens" for each in groups]
    return markdown(["positions", "parameters", f"{heads[0]} (as learnt)", *heads[1:]], rows)


def draw(figures: Mapping[str, Any], picture: Path) -> None:
    lines = {
        run["positions"]: [
            (sum(ends) / 2, run["bleu"][f"{ends[0]} to {ends[1]}"])
            for ends in figures["lengths"][:-1]
        ]
        for run in figures["runs"]
    }
    plot_lines(lines, picture, x="tokens of the longer side", y="sacreBLEU")
