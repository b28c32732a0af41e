"""Multi30k: captions in one direction, which is all that a model trained on them is asked for."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from export.source import from_run
from models import checkpoint, evaluate
from models.__main__ import app
from models.datasets import multi30k
from models.recipe import Recipe
from models.subword import END
from service.errors import InvalidInput
from service.tasks import translation
from service.tasks.translation import Request, preprocess

CAPTIONS = [
    ("A man rides a bike.", "Ein Mann fährt Fahrrad.", "Un homme fait du vélo."),
    ("Two dogs play in the snow.", "Zwei Hunde spielen im Schnee.", "Deux chiens jouent."),
]
OPTIONS = {"batch_tokens": 256, "vocab": 300}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "multi30k"
    folder.mkdir(parents=True)
    for split, count in {"train": 40, "val": 2, "test_2016_flickr": 33}.items():
        rows = [CAPTIONS[row % 2] for row in range(count)]
        text = "\n".join("\t".join(row) for row in [("en", "de", "fr"), *rows])
        (folder / f"{split}.tsv.gz").write_bytes(gzip.compress(f"{text}\n".encode()))
    return folder.parent


def load(data_dir: Path, run_dir: Path, split: str) -> Any:
    return multi30k.load(data_dir, split, run_dir=run_dir, seed=1, options=OPTIONS)


def test_a_batch_holds_captions_that_ask_for_german(data_dir: Path, tmp_path: Path) -> None:
    batch = load(data_dir, tmp_path, "train").batch(0)
    ids = translation.load_assets(tmp_path / "assets")
    (start,) = ids.directions.targets["de"].prompt
    assert (batch["source"][:, 0] == start).all()
    assert (batch["target"][:, 0] == start).all()
    rows = zip(batch["source"], batch["source_lengths"], strict=True)
    said = {ids.tokenizer.decode(row[1 : length - 1].tolist()) for row, length in rows}
    assert said <= {caption[0] for caption in CAPTIONS}
    last = batch["source"].gather(1, batch["source_lengths"][:, None] - 1)
    assert (last == ids.directions.end).all()
    assert ids.tokenizer.encode(END) != [ids.directions.end]


def test_the_dev_split_uses_the_vocabulary_of_train(data_dir: Path, tmp_path: Path) -> None:
    load(data_dir, tmp_path, "train")
    kept = (tmp_path / "assets" / "tokenizer.json").read_bytes()
    dev = load(data_dir, tmp_path, "dev")
    assert sum(len(dev.batch(step)["source"]) for step in range(len(dev))) == 2
    assert (tmp_path / "assets" / "tokenizer.json").read_bytes() == kept


def test_a_model_of_it_refuses_the_direction_it_never_saw(data_dir: Path, tmp_path: Path) -> None:
    load(data_dir, tmp_path, "train")
    assets = translation.load_assets(tmp_path / "assets")
    assert preprocess(Request(text="A dog.", source="en", target="de"), assets)
    with pytest.raises(InvalidInput, match="de-en is not a pair this model knows: en-de"):
        preprocess(Request(text="Ein Hund.", source="de", target="en"), assets)


def test_every_caption_of_the_test_split_is_asked_for_once(data_dir: Path) -> None:
    found = list(multi30k.examples(data_dir, "test"))
    assert {example.group for example in found} == {"en→de"}
    assert [len(example.references) for example in found] == [32, 1]
    assert found[0].request == Request(
        text=[CAPTIONS[row % 2][0] for row in range(32)], source="en", target="de"
    )
    assert found[1].references == [CAPTIONS[0][1]]


def test_a_model_is_measured_on_the_data_set_that_is_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Echo:
        """Answers every text with itself in the language wanted, as far as captions go."""

        async def __call__(self, request: Any) -> translation.Response:
            known = {english: german for english, german, _ in CAPTIONS}
            return translation.Response(
                translations=[
                    translation.Translation(text=known[text], score=0.0, tokens=1)
                    for text in request.text
                ]
            )

    async def from_store(*_: Any) -> Echo:
        return Echo()

    monkeypatch.setattr(evaluate, "from_store", from_store)
    asked = ["evaluate", "translation", "--data-dir", str(data_dir), "--dataset"]
    right = CliRunner().invoke(app, [*asked, "multi30k"])
    assert '"en\\u2192de": 100.0' in right.output
    wrong = CliRunner().invoke(app, [*asked, "cifar10"])
    assert wrong.exit_code == 2
    assert "'cifar10' is none of translation" in wrong.output


def test_a_run_of_it_is_published_for_translation_under_its_licence(
    tiny_trained: Any, tmp_path: Path
) -> None:
    recipe = Recipe(
        preset="testing", dataset="multi30k", task="translation", steps=1, learning_rate=1e-3
    )
    checkpoint.save(tmp_path, tiny_trained.architecture, recipe, tiny_trained.model, [], step=1)
    (tmp_path / "assets").mkdir()
    (tmp_path / "metrics.csv").write_text("step,dev_loss,dev_accuracy\n1,2.0,0.5\n")
    trained = from_run(tmp_path)
    assert trained.task == "translation"
    assert trained.data.licence == multi30k.LICENCE
