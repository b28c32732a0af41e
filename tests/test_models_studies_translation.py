"""Studies of translation: what is measured was not learnt, and every figure comes of a run."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from models.catalogue import recipes
from models.datasets import multi30k
from models.recipe import Recipe
from models.studies import positions, universal_transformer

WORDS = {"en": ("a man", "runs", "here", "now"), "de": ("ein Mann", "läuft", "hier", "jetzt")}
TINY = {"batch_tokens": 256, "vocab": 300}


def caption(language: str, times: int) -> str:
    return " ".join(WORDS[language][n % 4] for n in range(times))


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Captions of one to twelve words in every split."""
    folder = tmp_path / "data" / "multi30k"
    folder.mkdir(parents=True)
    for split, name in multi30k.SPLITS.items():
        with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as file:
            file.write("en\tde\tfr\n")
            for times in range(1, 13):
                file.write(f"{split} {caption('en', times)}\t{split} {caption('de', times)}\t-\n")
    return folder.parent


def shortened(monkeypatch: pytest.MonkeyPatch, study: Any, name: str) -> Recipe:
    """One step of a tiny model takes the place of the recipe's."""
    of, recipe = recipes()[name]
    sizes = {"testing": replace(of.presets["testing"], vocab=300, max_len=256)}
    short = replace(recipe, preset="testing", steps=1, warmup_steps=1, data=TINY, bf16=False)
    monkeypatch.setattr(study, "recipes", lambda: {name: (replace(of, presets=sizes), short)})
    return short


def test_positions_are_measured_on_captions_that_nobody_learnt(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "LENGTHS", ((3, 9), (10, 14), (15, 96)))
    options = {**TINY, "max_tokens": 9}
    learnt = multi30k.load(captions, "train", run_dir=tmp_path, seed=1, options=options)
    assert 0 < len(learnt.sources) < 12
    assert max(map(len, [*learnt.sources, *learnt.targets])) <= 9
    tokenizer = Tokenizer.from_file(str(tmp_path / "assets" / "tokenizer.json"))
    groups: dict[str, list[str]] = {}
    for example in positions.examples(captions, tokenizer):
        groups.setdefault(example.group, []).extend(example.request.text)  # type: ignore[attr-defined]
    assert list(groups) == ["3 to 9", "10 to 14", "15 to 96"]
    assert all(text.startswith("test ") for text in groups["3 to 9"])
    known = {tuple(source[1:-1]) for source in learnt.sources}
    asked = [tuple(tokenizer.encode(text).ids) for texts in groups.values() for text in texts]
    assert not known & set(asked)
    assert any(text.startswith("train ") for text in groups["15 to 96"])


def test_every_way_to_tell_positions_is_trained_and_measured_by_length(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened(monkeypatch, positions, "multi30k")
    monkeypatch.setattr(positions, "STEPS", 1)
    monkeypatch.setattr(positions, "LENGTHS", ((3, 9), (10, 14), (15, 96)))
    monkeypatch.setattr(positions, "LONGEST", 9)
    monkeypatch.setattr(positions, "SENTENCES", 1)
    figures = positions.study(captions, tmp_path / "runs")
    assert [run["positions"] for run in figures["runs"]] == list(positions.WAYS)
    assert all(len(run["bleu"]) == 3 for run in figures["runs"])
    rows = positions.table(figures)
    assert "| positions | parameters | 3 to 9 tokens (as learnt) |" in rows[0]
    assert len(rows) == 2 + len(positions.WAYS)
    positions.draw(figures, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_steps_of_thought_are_counted_and_drawn(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened(monkeypatch, universal_transformer, universal_transformer.RECIPE)
    figures = universal_transformer.study(captions, tmp_path / "run")
    for side in ("source", "target"):
        assert 1 <= figures["mean_steps"][side] <= figures["max_steps"]
        assert all(1 <= steps <= figures["max_steps"] for _, steps in figures["shown"][side])
    assert figures["shown"]["source"][0][0] == "<de>"
    assert figures["shown"]["target"][-1][0] == "</s>"
    assert f"| {figures['max_steps']} |" in universal_transformer.table(figures)[2]
    universal_transformer.draw(figures, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
