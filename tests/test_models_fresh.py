"""A model of ours learns from nothing but data of one's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from export.model import export_model
from export.source import from_run
from models.__main__ import app
from service import store
from service.tasks import task as task_named
from service.tasks.translation import Request

WORDS = {"un": "uno", "deux": "dos", "trois": "tres", "quatre": "cuatro", "cinq": "cinco"}


def train(*options: str) -> str:
    """What the command says when it succeeds."""
    done = CliRunner().invoke(app, ["train", *options])
    assert done.exit_code == 0, done.output
    return done.output


def refusal(*options: str) -> str:
    done = CliRunner().invoke(app, ["train", *options])
    assert done.exit_code
    return " ".join(done.output.replace("│", " ").split())


def pairs(path: Path) -> Path:
    lines = [f"{a} {b}\t{WORDS[a]} {WORDS[b]}" for a in WORDS for b in WORDS]
    path.write_text("\n".join(["fr\tes", *lines]) + "\n", encoding="utf-8")
    return path


def pictures(folder: Path, *classes: str) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for each in range(6):
            pixels = np.clip(200 * number + rng.normal(30, 20, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{each}.png")
    return folder


def test_a_pair_of_languages_that_no_model_knows_is_learnt_and_served(tmp_path: Path) -> None:
    data, run = pairs(tmp_path / "pairs.tsv"), tmp_path / "run"
    train("translation", "--data", str(data), "--run-dir", str(run), "--steps", "2")
    manifest = export_model(from_run(run), name="own", target="cpu", folder=tmp_path / "own")
    assert manifest.fine_tuned is not None
    assert not manifest.fine_tuned.base
    card = (tmp_path / "own" / "MODEL_CARD.md").read_text()
    assert "| trained from | random weights |" in card
    task = task_named("translation")
    opened, _ = store.open_model(tmp_path / "own", task, threads=1)
    assets = task.load_assets(tmp_path / "own")
    asked = Request(text="un deux", source="fr", target="es", max_new_tokens=4)
    items = task.preprocess(asked, assets)
    answer = task.postprocess(asked, assets, items, task.forward(opened, assets, items))
    assert len(answer.translations) == 1


def test_classes_are_those_of_the_folders(tmp_path: Path) -> None:
    data, run = pictures(tmp_path / "data", "dark", "light"), tmp_path / "run"
    train("image-classification", "--data", str(data), "--run-dir", str(run), "--steps", "2")
    assert list(task_named("image-classification").load_assets(run / "assets").labels) == [
        "dark",
        "light",
    ]


def test_what_cannot_be_learnt_from_nothing_is_said(tmp_path: Path) -> None:
    one = pictures(tmp_path / "one", "dark")
    alone = tmp_path / "alone.tsv"
    alone.write_text("fr\nun\ndeux\n", encoding="utf-8")
    assert "needs two" in refusal("image-classification", "--data", str(one))
    assert "needs two languages" in refusal("translation", "--data", str(alone))
    speech = refusal("automatic-speech-recognition", "--data", str(one))
    assert "name a model with --from" in speech


def test_a_model_to_go_on_from_needs_data(tmp_path: Path) -> None:
    assert "--from needs --data" in refusal("translation", "--from", "translation")


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_goes_on_keeps_its_vocabulary(tmp_path: Path, *, resumed: bool) -> None:
    data, run = pairs(tmp_path / "pairs.tsv"), tmp_path / "run"
    asked = ("translation", "--data", str(data), "--run-dir", str(run), "--steps", "2")
    train(*asked)
    before = (run / "assets" / "tokenizer.json").read_bytes()
    train(*asked, *(["--resume"] if resumed else []))
    assert (run / "assets" / "tokenizer.json").read_bytes() == before
