"""Studies: their pages, what they count as heard, and that they go on where they were stopped."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_keywords import CONFIG, LABELS, sound, trained
from PIL import Image
from typer.testing import CliRunner

from models import sizes, studies
from models.__main__ import app
from models.architectures import resnet, vit
from models.architectures.keyword_transformer import Stream
from models.catalogue import architecture
from models.datasets import cifar10
from models.datasets.speech_commands import Clips
from models.plot import plot_lines
from models.studies import truncated_attention, vit_and_convolution
from models.studies.truncated_attention import Spoken, joined, judged, said_s, streamed
from service.live.events import KeywordEvent

PAGE = f"before\n{studies.BEGIN}\nold\n{studies.END}\nafter\n"


def test_a_study_writes_its_figures_table_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"runs": [1, 2]}
    fake = SimpleNamespace(
        study=lambda data_dir, runs: figures,
        table=lambda of: studies.table(["a", "b"], [of["runs"]]),
        draw=lambda of, picture: plot_lines({"x": [(1, 2), (3, 4)]}, picture, x="x", y="y"),
    )
    monkeypatch.setattr(studies, "import_module", lambda name: fake)
    (tmp_path / "mine.md").write_text(PAGE)
    studies.write("mine", data_dir=tmp_path, runs=tmp_path, docs=tmp_path)
    assert json.loads((tmp_path / "studies" / "mine.json").read_text()) == figures
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" in (tmp_path / "mine.md").read_text()
    assert (tmp_path / "mine.md").read_text().startswith("before\n")
    assert (tmp_path / "studies" / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_marks_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "truncated_attention.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        studies.write("truncated_attention", data_dir=tmp_path, runs=tmp_path, docs=tmp_path)


def test_the_command_knows_the_studies_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(studies, "write", lambda name, **of: asked.append((name, of["runs"])))
    run = CliRunner().invoke
    assert run(app, ["study", "truncated_attention", "--runs", str(tmp_path)]).exit_code == 0
    assert asked == [("truncated_attention", tmp_path)]
    unknown = run(app, ["study", "astrology"])
    assert unknown.exit_code == 2
    assert "truncated_attention" in unknown.output


@pytest.mark.parametrize("name", studies.names())
def test_every_study_has_a_page_that_takes_its_figures(name: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "systems" / f"{name}.md"
    studies.between(page, [])
    assert f"(studies/{name}.png)" in page.read_text(encoding="utf-8")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's shape with 40 training pictures."""
    arrays: dict[str, np.ndarray] = {"classes": np.array(list("abcdefghij"))}
    rng = np.random.default_rng(0)
    for part, size in (("train", 40), ("test", 20)):
        files = []
        for _ in range(size):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(file, "JPEG")
            files.append(file.getvalue())
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{part}_offset"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_label"] = np.arange(size, dtype=np.uint8) % 10
    (tmp_path / "cifar10").mkdir()
    np.savez(tmp_path / cifar10.PATH, **arrays)  # type: ignore[arg-type]
    monkeypatch.setattr(cifar10, "DEV_IMAGES", 10)
    return tmp_path


def small() -> dict[str, Any]:
    """The recipes of the study, tiny."""
    presets = {
        "cifar10-patches": (architecture("vit"), replace(vit.PRESETS["testing"], classes=10)),
        "cifar10-resnet": (architecture("resnet"), replace(resnet.PRESETS["testing"], classes=10)),
    }
    return {
        name: (
            replace(of, presets={"small": config}),
            replace(
                of.recipes[name],
                preset="small",
                steps=2,
                data={**of.recipes[name].data, "batch_size": 2},
            ),
        )
        for name, (of, config) in presets.items()
    }


def test_pictures_are_learned_in_shares_and_a_finished_run_is_not_trained_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vit_and_convolution, "recipes", small)
    monkeypatch.setattr(vit_and_convolution, "SHARES", (0.5, 1.0))
    figures = vit_and_convolution.study(pictures, tmp_path / "runs")
    runs = {(run["model"], run["share"]): run for run in figures["runs"]}
    assert {run["pictures"] for run in figures["runs"]} == {10, 30}
    assert runs["ResNet", 0.5]["passes"] == 0.4
    assert (tmp_path / "runs" / "cifar10-resnet-50" / "assets" / "labels.json").exists()
    lines = vit_and_convolution.table(figures)
    assert len(lines) == 4
    vit_and_convolution.draw(figures, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").exists()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it is trained already")

    monkeypatch.setattr(studies, "fit", never)
    assert vit_and_convolution.study(pictures, tmp_path / "runs") == figures


def test_both_networks_have_as_many_parameters() -> None:
    with torch.device("meta"):
        counts = [
            sizes.parameters(of.build(of.PRESETS[preset]))  # type: ignore[attr-defined]
            for of, preset in ((vit, "cifar-patches"), (resnet, "cifar"))
        ]
    assert max(counts) / min(counts) < 1.03
    assert 500_000 <= min(counts) <= max(counts) <= 1_000_000


def test_operations_are_those_of_products_and_attention() -> None:
    linear = torch.nn.Linear(3, 5)
    assert sizes.operations(linear, torch.zeros(7, 3)) == 2 * 7 * 3 * 5
    convolution = torch.nn.Conv2d(2, 4, 3, padding=1)
    assert sizes.operations(convolution, torch.zeros(1, 2, 6, 6)) == 2 * 36 * 2 * 4 * 9


def test_a_word_ends_where_it_is_no_longer_loud() -> None:
    clip = sound(1)
    clip[3_200:8_000] += 0.3
    assert said_s(clip) == pytest.approx(0.5, abs=0.021)


def clips(labels: list[int]) -> Clips:
    from models.datasets.speech_commands import CLASSES

    spoken = {2: "low", 3: "middle"}
    samples = [sound(1, {0.3: spoken[of]} if of in spoken else {}, seed=of) for of in labels]
    assert CLASSES[2] == "yes"
    return Clips(np.stack(samples), np.array(labels), ("a",) * len(labels))


def test_clips_make_a_stream_whose_keywords_are_known() -> None:
    samples, spoken = joined(clips([2, 0, 3]))
    assert len(samples) == 3 * 24_000
    assert sorted(one.label for one in spoken) == ["no", "yes"]
    for one in spoken:
        assert one.end_s == one.start_s + 1
        assert one.said_s == pytest.approx(one.start_s + 0.7, abs=0.05)


def test_what_is_told_is_right_once_and_in_its_clip() -> None:
    def event(label: str, start_s: float) -> KeywordEvent:
        times = {"start_s": start_s, "end_s": start_s + 0.2}
        return KeywordEvent(type="keyword", label=label, score=1, **times)

    spoken = [Spoken("yes", 0, 1, 0.8), Spoken("no", 1.5, 2.5, 2.0), Spoken("yes", 3, 4, 3.5)]
    told = [
        (1.0, event("yes", 0.5)), (1.1, event("yes", 0.6)),
        (2.3, event("yes", 1.7)), (3.9, event("yes", 3.2)),
    ]  # fmt: skip
    found = judged(spoken, told)
    assert found["told_share"] == pytest.approx(66.7)
    assert found["median_delay_ms"] == 300
    assert found["false_an_hour"] == round(2 * 3_600 / 4.5)
    assert judged(spoken, [])["told_share"] == 0


def test_streams_are_measured_with_how_late_and_dear_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(truncated_attention, "CLASSES", ("_silence_", "_", *LABELS[1:], "_"))
    monkeypatch.setattr(
        truncated_attention, "Hearing", lambda frames, labels: SimpleNamespace(
            frames=frames, labels=LABELS
        )
    )  # fmt: skip
    assert CONFIG.window is not None
    row = streamed(Stream(trained()), CONFIG.window, clips([2, 0, 3, 2]))
    assert row["look_ahead_ms"] == 10 * (4 * 2 * 1 + 3) + 12
    assert row["told_share"] == 100
    assert row["false_an_hour"] == 0
    assert 0 < row["median_delay_ms"] < 1_500
    run = {"parameters": 1, "steps": 1, "accuracy": 90.0}
    figures = {"runs": [{**run, "window": (2, 1), **row}, {**run, "window": None}]}
    assert len(truncated_attention.table(figures)) == 4
