"""Checkpoints of other libraries become models that do here what they do there, or nothing."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from export import agreement
from export.imported import import_model, name_of, read
from export.source import Trained
from models import families
from models.checkpoint import BadCheckpoint
from models.datasets import Example
from models.evaluate import answerable
from models.origin import licence, locate
from service import manifest as manifests
from service.store import open_model
from service.tasks import task
from service.tasks.translation import Request

pytestmark = pytest.mark.filterwarnings("ignore::Warning:transformers.*", "ignore:Recommended")
FAMILIES: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "marian": (checkpoints.marian, {}),
    "m2m100": (checkpoints.m2m100, {}),
    "nllb": (checkpoints.nllb, {}),
    "bart": (checkpoints.bart, {"source_lang": "en", "target_lang": "ro"}),
    "mbart": (checkpoints.mbart, {}),
    "mbart50": (checkpoints.mbart50, {}),
    "t5": (checkpoints.t5, {}),
    "t5 1.1": (checkpoints.t5_gated, {}),
}
GENERATION, WEIGHTS = "generation_config.json", "model.safetensors"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(1)


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return checkpoints.marian(tmp_path_factory.mktemp("checkpoints") / "opus-mt-en-de")


@pytest.fixture
def copy(marian: Path, tmp_path: Path) -> Path:
    """The checkpoint in a folder of its own, to be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in marian.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def change(folder: Path, name: str, **entries: Any) -> None:
    path = folder / name
    content = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_tensors(folder: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


def built(folder: Path) -> torch.nn.Module:
    found = locate(str(folder)).folder
    return families.build(families.family_of(found), found)


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_tokens_and_searches_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    make, options = FAMILIES[name]
    assets = tmp_path / "assets"
    assets.mkdir()
    trained: Trained = read(locate(str(make(tmp_path / "given")), options=options), assets)
    assert trained.imported is not None
    assert trained.imported.agreement["logits"] <= agreement.TOLERANCE
    assert set(trained.imported.agreement) == {"logits", "token ids", "greedy and beam search"}
    counts = trained.imported.counts
    assert counts["greedy translations"] > 0
    searched = counts["beam searches"], counts["beam searches that the library did not end"]
    assert searched[0] > 0
    assert sum(searched) == counts["greedy translations"]


@pytest.mark.parametrize("name", ["marian", "t5 1.1"])
def test_an_import_is_published_with_its_origin_and_opens_as_its_task(
    name: str, tmp_path: Path
) -> None:
    make, options = FAMILIES[name]
    given = make(tmp_path / "given")
    (given / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    manifest = import_model(str(given), out=tmp_path, name="own", options=options)
    assert (manifest.name, manifest.answers) == ("own", "translation")
    ops = {graph: parity.attention_ops for graph, parity in manifest.parity.graphs.items()}
    # One for each attention: two in a layer of the decoder. What is explained is the last one.
    assert ops == {
        "encoder": {"MultiHeadAttention": 2},
        "decoder": {"GroupQueryAttention": 4},
        "attention": {"MultiHeadAttention": 5},
    }
    assert manifest.imported is not None
    assert manifest.imported.licence == manifest.data.licence == "apache-2.0"
    assert manifest.imported.files[WEIGHTS] == manifests.sha256(given / WEIGHTS)
    card = (tmp_path / "own" / "MODEL_CARD.md").read_text()
    assert "apache-2.0" in card
    assert manifest.imported.files[WEIGHTS] in card
    of = task("translation")
    model, _ = open_model(tmp_path / "own", of, threads=1)
    assets = of.load_assets(tmp_path / "own")
    request = Request(text="I read. We see.", source="en", target="de", max_new_tokens=5)
    items = of.preprocess(request, assets)
    answer = of.postprocess(request, assets, items, of.forward(model, assets, items))
    assert answer.translations[0].tokens > 0  # type: ignore[attr-defined]


def test_weights_of_torch_are_read_as_tensors_only(copy: Path) -> None:
    whole = built(copy)
    torch.save(load_file(copy / WEIGHTS), copy / "pytorch_model.bin")
    (copy / WEIGHTS).unlink()
    same = built(copy).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in whole.state_dict().items())


def test_weights_in_parts_are_the_weights(copy: Path) -> None:
    whole = built(copy).state_dict()
    tensors = list(load_file(copy / WEIGHTS).items())
    parts = {"a.safetensors": dict(tensors[::2]), "b.safetensors": dict(tensors[1::2])}
    for name, part in parts.items():
        save_file(part, copy / name)
    table = {tensor: name for name, part in parts.items() for tensor in part}
    (copy / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": table}))
    (copy / WEIGHTS).unlink()
    assert all(
        torch.equal(tensor, whole[name]) for name, tensor in built(copy).state_dict().items()
    )


def test_all_that_is_wrong_with_tensors_is_said_at_once(copy: Path) -> None:
    def edit(tensors: dict[str, Tensor]) -> None:
        del tensors["model.encoder.layers.0.fc1.weight"]
        del tensors["model.decoder.layers.1.encoder_attn.k_proj.bias"]
        tensors["model.encoder.layers.9.fc1.weight"] = torch.zeros(3)
        tensors["model.decoder.layers.0.fc2.weight"] = torch.zeros(7, 5)
        tensors["model.encoder.layers.1.self_attn.q_proj.weight"] = torch.zeros(32, 31)

    change_tensors(copy, edit)
    with pytest.raises(BadCheckpoint) as caught:
        built(copy)
    said = str(caught.value)
    for words in (
        "model.encoder.layers.0.fc1.weight is missing",
        "model.decoder.layers.1.encoder_attn.k_proj.bias is missing",
        "model.encoder.layers.9.fc1.weight has no place",
        "model.decoder.layers.0.fc2.weight (7, 5) has another shape than (32, 48)",
        "q_proj.weight (32, 31)",
    ):
        assert words in said


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("the pickle was run",))


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"a": Bomb()}, folder / "pytorch_model.bin")


def _cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def _cut_archive(folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / WEIGHTS), path)
    path.write_bytes(path.read_bytes()[:-100])
    (folder / WEIGHTS).unlink()


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "an unknown architecture": (
        lambda folder: change(folder, "config.json", model_type="mamba"),
        r"is of model_type 'mamba' \(MarianMTModel\), not one of",
    ),
    "a config that says too little": (
        lambda folder: change(folder, "config.json", d_model=None),
        "config.json does not say d_model",
    ),
    "a config that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{") and None,
        "config.json is no JSON",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "neither model.safetensors nor"),
    "a truncated file": (_cut, "model.safetensors is damaged or cut off"),
    "a pickle": (_pickled, "a pickle that holds more than tensors, which is not read"),
    "a tokenizer without its files": (
        lambda folder: (folder / "source.spm").unlink(),
        "source.spm is missing; the folder holds",
    ),
    "an index that leaves the folder": (
        lambda folder: (
            (folder / f"{WEIGHTS}.index.json").write_text(
                json.dumps({"weight_map": {"a": "../../etc/passwd"}})
            )
            and None
        ),
        "names files outside its folder",
    ),
    "an unknown activation": (
        lambda folder: change(folder, "config.json", activation_function="mish"),
        "activation 'mish' is not one of",
    ),
    "too few positions": (
        lambda folder: change(folder, "config.json", max_position_embeddings=64),
        "has 64 positions; serving needs",
    ),
    "sides that differ": (
        lambda folder: change(folder, "config.json", decoder_ffn_dim=40),
        "encoder and decoder are not alike",
    ),
    "words that may not come": (
        lambda folder: change(folder, GENERATION, bad_words_ids=[[3], [4, 5]]),
        r"bad_words_ids has \[4, 5\], more than a token: that is not decoded here",
    ),
    "rules of decoding": (
        lambda folder: change(folder, GENERATION, no_repeat_ngram_size=3, min_length=5),
        r"generation_config.json: min_length is 5; no_repeat_ngram_size is 3: that is not",
    ),
    "rules of decoding in an older config": (
        lambda folder: (
            (folder / GENERATION).unlink() or change(folder, "config.json", repetition_penalty=1.2)
        ),
        "config.json: repetition_penalty is 1.2",
    ),
    "another end at the last place": (
        lambda folder: change(folder, GENERATION, forced_eos_token_id=9),
        r"forced_eos_token_id is 9, not of \[0\]",
    ),
    "several ends": (
        lambda folder: change(folder, GENERATION, eos_token_id=[0, 5], forced_eos_token_id=0),
        r"has the end tokens \[0, 5\]; only one is known here",
    ),
    "an archive of torch cut off": (_cut_archive, "pytorch_model.bin is damaged"),
    "no table of pieces": (
        lambda folder: (folder / "vocab.json").unlink(),
        "vocab.json is missing",
    ),
    "an unsaid language": (
        lambda folder: change(folder, "tokenizer_config.json", target_lang=None),
        "does not say target_lang: give --option target_lang=",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_refused_with_a_reason_and_nothing_stays(
    name: str, copy: Path, tmp_path: Path
) -> None:
    damage, words = BAD[name]
    damage(copy)
    out = tmp_path / "out"
    with pytest.raises(BadCheckpoint, match=words):
        import_model(str(copy), out=out, name="own")
    assert not out.exists() or not list(out.iterdir())


def test_a_model_that_computes_something_else_is_refused(marian: Path, tmp_path: Path) -> None:
    found = locate(str(marian)).folder
    model = families.build(families.family_of(found), found)
    families.family_of(found).assets(found, tmp_path)
    model.decoder[0].feed_forward_norm.bias += 0.01  # type: ignore[index,union-attr,operator]
    with pytest.raises(agreement.Disagreement, match="logits of 1 rows: differs by"):
        agreement.check("translation", marian, model, tmp_path)


def test_a_search_that_could_not_be_compared_is_no_agreement(
    marian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = locate(str(marian)).folder
    model = families.build(families.family_of(found), found)
    families.family_of(found).assets(found, tmp_path)
    translation = import_module("export.agreement.translation")
    monkeypatch.setattr(translation, "_same_answer", lambda *_, **__: translation.LEFT_OUT)
    with pytest.raises(agreement.Disagreement, match="of 8 beam searches the library ended none"):
        agreement.check("translation", marian, model, tmp_path)


def test_only_languages_that_a_model_knows_decide_on_its_precision(
    marian: Path, tmp_path: Path
) -> None:
    found = locate(str(marian)).folder
    families.family_of(found).assets(found, tmp_path)
    asked = [Request(text="I read.", source="en", target=target) for target in ("de", "fr")]
    data = [Example(request.target, request, ["-"]) for request in asked]
    assert answerable(task("translation"), tmp_path, data) == data[:1]


def test_differences_are_shares_of_the_largest_value() -> None:
    assert agreement.difference("x", [1000.0, 1.0], [1000.05, 1.0]) == pytest.approx(5e-5, rel=1e-3)
    with pytest.raises(agreement.Disagreement, match="differs by"):
        agreement.difference("x", [np.nan], [1.0])
    with pytest.raises(agreement.Disagreement, match="shape"):
        agreement.difference("x", [1.0], [1.0, 2.0])


def test_a_hub_id_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("name resolution failed")

    monkeypatch.setattr("models.origin.HfApi.model_info", offline)
    with pytest.raises(BadCheckpoint, match="cannot be had from the hub: check the name and the"):
        locate("Helsinki-NLP/opus-mt-en-de")


def test_what_is_neither_folder_nor_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="is no folder, no id like owner/name and not one of"):
        locate(str(tmp_path / "nothing" / "here"))
    with pytest.raises(BadCheckpoint, match="a revision is for an id of the hub"):
        locate(str(tmp_path), revision="main")


@pytest.mark.parametrize(
    ("files", "stated"),
    [
        ({"README.md": "---\nlicense: mit\n---\n"}, "mit"),
        (
            {"README.md": "# nothing\nlicense: mit\n", "LICENSE": "MIT License\n\nCopyright"},
            "MIT License",
        ),
        ({}, "not stated"),
    ],
)
def test_the_licence_is_what_card_or_file_state(
    files: dict[str, str], stated: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert licence(tmp_path) == stated


def test_a_name_is_made_that_the_store_takes() -> None:
    assert name_of("Helsinki-NLP/opus-mt-en-de") == "opus-mt-en-de"
    assert name_of("/models/My Model (v2)/") == "my-model-v2"


def test_the_command_says_what_was_wrong_and_leaves_nothing(copy: Path, tmp_path: Path) -> None:
    from models.__main__ import app

    _cut(copy)
    done = CliRunner().invoke(app, ["import", str(copy), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "not imported" in done.output
    assert "cut off" in done.output
