"""A model learns from data of one's own, and what is published answers as what was trained."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from rich.console import Console
from test_models_families_images import checkpoint as image_checkpoint
from test_models_families_sounds import waveform_checkpoint
from typer.testing import CliRunner

from export import gate
from export.gate import GateError
from export.imported import import_model
from export.model import export_model, round_to_float16
from export.published import from_published
from export.source import from_run
from models import checkpoint, fine_tuning
from models.catalogue import architecture
from models.checkpoint import BadCheckpoint
from models.fine_tuning import RECIPES, Start, fine_tune
from models.fine_tuning import published as from_manifest
from models.recipe import Recipe
from models.reference import Reference
from service import manifest as manifests
from service import store
from service.manifest import Data
from service.tasks import task as task_named

pytestmark = pytest.mark.filterwarnings("ignore::Warning:transformers.*", "ignore:Recommended")
RATE_HZ = 16_000
TONES_HZ = {"low": 300, "high": 2_000}


def start_of(folder: Path) -> Start:
    trained = from_published(folder)
    return from_manifest(
        manifests.read(folder), trained.architecture, trained.model, trained.assets
    )


def quick(task: str, **changes: Any) -> Recipe:
    recipe = replace(RECIPES[task], learning_rate=3e-3, warmup_steps=2, patience=40)
    return replace(recipe, **changes)


def tuned(
    folder: Path, recipe: Recipe, data: Path, run_dir: Path, **options: Any
) -> tuple[float, float]:
    """Accuracy on the dev split before the first step, and of the best weights."""
    metrics = fine_tune(
        start_of(folder), recipe, data, run_dir, console=Console(file=io.StringIO()), **options
    )
    with (run_dir / "metrics.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["step"] == "0"
    return float(first["dev_accuracy"]), metrics["dev_accuracy"]


def published(run_dir: Path, folder: Path) -> manifests.Manifest:
    return export_model(from_run(run_dir), name="own", target="cpu", folder=folder)


def same_answer(run_dir: Path, folder: Path, request: Any) -> Any:
    """The published model's answer to a request, once it is that of the trained one."""
    of, module = checkpoint.load_model(run_dir)
    task = store.kind_of(folder, task_named(manifests.read(folder).answers))
    opened, _ = store.open_model(folder, task, threads=1)
    assets = task.load_assets(folder)
    items = task.preprocess(request, assets)
    trained, exported = (
        task.postprocess(request, assets, items, task.forward(model, assets, items))
        for model in (Reference(of.graphs(round_to_float16(module))), opened)
    )
    assert rounded(exported) == rounded(trained)
    return exported


def rounded(answer: Any) -> Any:
    said = answer.model_dump_json(exclude={"timings_ms", "model"})
    return json.loads(said, parse_float=lambda number: round(float(number), 2))


def pictures(folder: Path, classes: dict[str, tuple[int, int, int]], *, each: int = 10) -> Path:
    """Noisy pictures of one colour a class."""
    rng = np.random.default_rng(0)
    for name, colour in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(colour + rng.normal(0, 40, (40, 36, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


def tone(path: Path, hz: float, *, seconds: float = 0.5, seed: int = 0) -> Path:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time_s))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time_s) + noise, RATE_HZ)
    return path


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def tones(folder: Path, column: str, said: dict[str, str], *, each: int = 12) -> Path:
    """Recordings of low and high tones, and what they are called."""
    rows = []
    for name, hz in TONES_HZ.items():
        for number in range(each):
            path = tone(folder / f"{name}{number}.wav", hz + 10 * number, seed=number)
            rows.append({"file": path.name, column: said[name]})
    return table(folder / "tones.csv", rows)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported ViT with three classes and a licence."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    given = image_checkpoint(folder / "given", "vit")
    (given / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    import_model(str(given), out=folder, name="own-vit")
    return folder / "own-vit"


def test_pictures_of_new_classes_are_learnt_and_the_card_says_from_what(
    vit: Path, tmp_path: Path
) -> None:
    from service.tasks.image_classification import Request

    data = pictures(tmp_path / "data", COLOURS)
    recipe = quick("image-classification", data={"batch": 9})
    before, after = tuned(vit, recipe, data, tmp_path / "run", steps=20)
    assert before < after
    assert after == 1
    manifest = published(tmp_path / "run", tmp_path / "own")
    request = Request(image=(data / "red" / "0.png").read_bytes())
    answer = same_answer(tmp_path / "run", tmp_path / "own", request)
    assert [label.label for label in answer.labels] == ["red", "blue"]
    assert manifest.answers == "image-classification"
    assert manifest.fine_tuned is not None
    assert manifest.fine_tuned.items == {"train": 18, "dev": 2, "test": 0}
    assert manifest.imported is not None
    base = manifests.read(vit)
    card = (tmp_path / "own" / "MODEL_CARD.md").read_text()
    assert f"| trained from | own-vit:{base.version} |" in card
    assert "| licence of the data or weights | apache-2.0 |" in card
    assert manifest.metrics["dev_accuracy"] == 1


def test_a_model_that_knows_all_classes_keeps_its_head(vit: Path, tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", {"LABEL_0": (200, 0, 0), "LABEL_2": (0, 0, 200)})
    tuned(vit, quick("image-classification"), data, tmp_path / "run", steps=1)
    labels = json.loads((tmp_path / "run" / "assets" / "labels.json").read_text())
    assert labels == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_a_new_head_keeps_what_is_known_of_a_class() -> None:
    of = architecture("vit")
    model = of.build(of.presets["testing"])
    changed = fine_tuning.with_classes(of, model, ["a", "b", "c"], ["c", "new", "a", "d"])
    assert changed.config.classes == 4
    old, new = model.head.weight, changed.head.weight
    assert torch.equal(new[0], old[2])
    assert torch.equal(new[2], old[0])
    assert torch.equal(changed.tokens.weight, model.tokens.weight)


def test_a_resumed_fine_tuning_has_the_weights_of_an_unbroken_one(
    vit: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "data", COLOURS)
    recipe = quick("image-classification", data={"batch": 5})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tuned(vit, recipe, data, whole, steps=8)
    tuned(vit, recipe, data, broken, steps=8, stop_after_steps=3)
    tuned(vit, recipe, data, broken, steps=8, resume=True)
    first, second = checkpoint.read(whole), checkpoint.read(broken)
    assert first["best"]["step"] == second["best"]["step"]
    for part in (lambda state: state["model"], lambda state: state["best"]["model"]):
        for name, tensor in part(first).items():
            assert torch.equal(tensor, part(second)[name]), name


def test_a_run_goes_on_only_as_it_began(vit: Path, tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", COLOURS)
    tuned(vit, quick("image-classification"), data, tmp_path / "run", steps=2)
    (data / "red" / "0.png").unlink()
    with pytest.raises(BadCheckpoint, match=r"began otherwise.*sha256"):
        tuned(vit, quick("image-classification"), data, tmp_path / "run", steps=2, resume=True)


def test_training_ends_where_nothing_becomes_better_and_the_best_is_the_result(
    vit: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "data", COLOURS)
    recipe = quick("image-classification", data={"batch": 9}, learning_rate=0.0, patience=2)
    before, after = tuned(vit, recipe, data, tmp_path / "run", steps=40)
    state = checkpoint.read(tmp_path / "run")
    assert state["step"] == 4  # two evaluations of two steps each
    assert state["best"]["step"] == 0
    assert before == pytest.approx(after, abs=1e-4)


def test_batch_norms_keep_their_statistics_in_fine_tuning(tmp_path: Path) -> None:
    from export.source import Trained

    of = architecture("keyword_transformer")
    model = of.build(of.presets["testing"]).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["low", "high", "other", "_silence_"]))
    trained = Trained(of, model, [labels], Data(source="none", licence="none"), {})
    folder = tmp_path / "audio-classification"
    export_model(trained, name="audio-classification", target="cpu", folder=folder)
    data = tones(tmp_path / "data", "label", {"low": "low", "high": "high"})
    recipe = quick("audio-classification", data={"batch": 10})
    before, after = tuned(folder, recipe, data, tmp_path / "run", steps=20)
    assert before < after
    start, state = start_of(folder).model.state_dict(), checkpoint.read(tmp_path / "run")["model"]
    kept = [name for name in state if "running" in name]
    assert kept
    assert all(torch.equal(state[name], start[name]) for name in kept)


def test_a_published_model_has_all_its_tensors_where_some_are_equal(tmp_path: Path) -> None:
    from export.source import Trained

    of = architecture("kwt")
    model = round_to_float16(of.build(of.presets["testing"]).eval())
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attention.query_key_value.bias.zero_()  # as the release has it
    trained = Trained(of, model, [], Data(source="none", licence="none"), {})
    export_model(trained, name="kwt", target="cpu", folder=tmp_path / "kwt")
    again = from_published(tmp_path / "kwt").model.state_dict()
    assert all(torch.equal(again[name], each) for name, each in model.state_dict().items())


def test_samples_of_new_labels_are_learnt(tmp_path: Path) -> None:
    from service.tasks.audio_classification import Request

    given = waveform_checkpoint(tmp_path / "given", "wav2vec2-classes")
    import_model(str(given), out=tmp_path, name="waves")
    data = tones(tmp_path / "data", "label", {"low": "bass", "high": "treble"})
    recipe = quick("audio-classification", data={"batch": 10})
    before, after = tuned(tmp_path / "waves", recipe, data, tmp_path / "run", steps=30)
    assert before < after
    published(tmp_path / "run", tmp_path / "own")
    request = Request(audio=(data.parent / "low0.wav").read_bytes())
    answer = same_answer(tmp_path / "run", tmp_path / "own", request)
    assert {label.label for label in answer.labels} == {"bass", "treble"}


def test_letters_are_learnt_with_ctc_and_the_vocabulary_is_kept(tmp_path: Path) -> None:
    from service.tasks.automatic_speech_recognition import Request

    given = waveform_checkpoint(tmp_path / "given", "wav2vec2-base")
    import_model(str(given), out=tmp_path, name="letters")
    data = tones(tmp_path / "data", "text", {"low": "a", "high": "bb"})
    recipe = quick("automatic-speech-recognition", data={"batch": 11}, learning_rate=1e-2)
    before, after = tuned(tmp_path / "letters", recipe, data, tmp_path / "run", steps=80)
    assert before < after
    published(tmp_path / "run", tmp_path / "own")
    vocabulary = (tmp_path / "own" / "vocab.json").read_text()
    assert json.loads(vocabulary) == json.loads((given / "vocab.json").read_text())
    request = Request(audio=(data.parent / "high0.wav").read_bytes())
    same_answer(tmp_path / "run", tmp_path / "own", request)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published Whisper of random weights that knows bytes, English and German."""
    from fake_whisper import folder_of

    from export.source import Trained

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    assets = folder / "assets"
    assets.mkdir()
    folder_of(assets)
    vocab = task_named("automatic-speech-recognition").load_assets(assets).first_timestamp + 1_501
    of = architecture("whisper")
    model = of.build(replace(of.presets["testing"], vocab=vocab)).eval()
    trained = Trained(of, model, sorted(assets.iterdir()), Data(source="none", licence="MIT"), {})
    name = "automatic-speech-recognition"
    export_model(trained, name=name, target="cpu", folder=folder / name)
    return folder / name


def test_texts_are_learnt_by_whisper(whisper: Path, tmp_path: Path) -> None:
    from service.tasks.automatic_speech_recognition import Request

    data = tones(tmp_path / "data", "text", {"low": "deep down", "high": "so high"}, each=2)
    recipe = quick("automatic-speech-recognition", data={"batch": 2})
    before, after = tuned(whisper, recipe, data, tmp_path / "run", steps=4)
    assert before < after
    published(tmp_path / "run", tmp_path / "own")
    request = Request(audio=(data.parent / "low0.wav").read_bytes(), language="en")
    same_answer(tmp_path / "run", tmp_path / "own", request)


PAIRS = [(f"I read {n}.", f"Ich lese {n}.") for n in ("books", "it", "two", "here")]


def pairs(path: Path, lines: list[tuple[str, ...]], *, header: str = "en\tde") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *("\t".join(line) for line in lines)]) + "\n")
    return path


def of_shape_of_marian(folder: Path) -> Path:
    import_model(str(checkpoints.marian(folder / "given")), out=folder, name="own-pair")
    return folder / "own-pair"


@pytest.mark.parametrize("kind", ["ours", "marian"])
def test_sentence_pairs_are_learnt_with_the_tokens_of_the_model(
    kind: str, tiny_translation: Path, tmp_path: Path
) -> None:
    from service.tasks.translation import Request

    folder = tiny_translation if kind == "ours" else of_shape_of_marian(tmp_path)
    data = pairs(tmp_path / "pairs.tsv", [(a, f"{b} {n}") for n in "abcd" for a, b in PAIRS])
    recipe = quick("translation", data={"batch": 200})
    before, after = tuned(folder, recipe, data, tmp_path / "run", steps=20)
    assert before < after
    published(tmp_path / "run", tmp_path / "own")
    request = Request(text="I read.", source="en", target="de", beam_size=1, max_new_tokens=8)
    same_answer(tmp_path / "run", tmp_path / "own", request)


def test_int8_of_a_fine_tuned_model_is_decided_by_its_own_dev_split(
    vit: Path, tmp_path: Path
) -> None:
    data = pictures(tmp_path / "data", COLOURS)
    recipe = quick("image-classification", data={"batch": 9})
    tuned(vit, recipe, data, tmp_path / "run", steps=4)
    published(tmp_path / "run", tmp_path / "own")
    asked = gate.examples("image-classification", data, tmp_path / "own")
    assert [example.references for example in asked] == [["blue"], ["red"]]
    (data / "red" / "0.png").unlink()
    with pytest.raises(GateError, match=r"was fine-tuned on data, and .* is not that"):
        gate.examples("image-classification", data, tmp_path / "own")


def command(*arguments: str) -> tuple[int, str]:
    from models.__main__ import app

    done = CliRunner().invoke(app, ["train", *arguments])
    return done.exit_code, done.output


def test_the_command_names_all_that_is_wrong_and_writes_nothing(vit: Path, tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", COLOURS, each=3)
    for name in ("torn.png", "other.png"):
        (data / "red" / name).write_bytes(b"nothing")
    run_dir = tmp_path / "run"
    code, output = command(
        "image-classification", f"--from={vit}", f"--data={data}", f"--run-dir={run_dir}"
    )
    assert code == 1
    assert "not trained" in output
    assert "red/torn.png: not a PNG" in output
    assert "red/other.png: not a PNG" in output
    assert not run_dir.exists()


def test_the_command_refuses_what_does_not_go_together(vit: Path, tmp_path: Path) -> None:
    for arguments, code, why in (
        (["translation", f"--from={vit}", f"--data={tmp_path}"], 1, "is a model for image-"),
        (["translation", "--from=none", f"--data={tmp_path}"], 1, "no model in the store"),
        (["translation", "--from=none"], 2, "--from needs --data"),
        (["stripes", "--from=none", f"--data={tmp_path}"], 2, "is not one of translation"),
    ):
        assert command(*arguments)[0] == code
        assert why in command(*arguments)[1].replace("\n", " ")
