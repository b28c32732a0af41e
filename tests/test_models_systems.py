"""Records of systems: what each command finds is kept, counted rightly, and shown side by side."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from models import comparison, recording, sizes, systems
from models.catalogue import architecture
from models.graph import Graph
from models.systems import Quality, Serving, Size, System, Training
from service.contract import Graph as Contract
from service.tasks import image_classification
from service.tasks import task as task_named

SIZE = Size(parameters=2_000_000, flops=3_000_000_000, file_bytes=4_000_000, command="record a")
SERVING = Serving(
    p50_ms=1.5, p90_ms=2.5, per_s=100.0, users=16, door="REST", machine="cpu, 2 cores",
    version="1", command="bench a",
)  # fmt: skip
QUALITY = Quality(
    metric="accuracy, %", data="shapes", group="test", value=91.25, higher_is_better=True,
    command="record a --data-dir DIR",
)  # fmt: skip
TRAINING = Training(steps=10, core_s=1_800.0, data="shapes", command="train a")


def system(name: str = "a", **parts: Any) -> System:
    return System(name=name, task="translation", architecture="transformer", version="1", **parts)


def test_a_command_keeps_what_others_have_recorded(tmp_path: Path) -> None:
    systems.write(system(size=SIZE, quality=[QUALITY]), tmp_path)
    systems.write(system(serving=SERVING), tmp_path)
    path = systems.write(system(size=SIZE, training=TRAINING), tmp_path)
    assert systems.read(path) == system(
        size=SIZE, training=TRAINING, quality=[QUALITY], serving=SERVING
    )


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "a", "unknown": 1}')
    with pytest.raises(ValidationError):
        systems.every(tmp_path)


def test_products_and_convolutions_are_counted() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 5, 3, padding=1, bias=False)
            self.head = nn.Linear(5, 7)

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.head(self.convolution(pixels).mean((2, 3)))
            return logits

    model = Model()
    graph = Graph(
        "model", model, Contract({}, {}), ["logits"],
        lambda batch: {"pixels": torch.zeros(batch, 3, 32, 32)}, [{"batch": 1}],
    )  # fmt: skip
    of = task_named("image-classification")
    assets = image_classification.Assets(["ant"] * 7)
    assert sizes.parameters(model) == 5 * 3 * 9 + 5 * 7 + 7
    counted = sizes.flops(of, [graph], assets, of.example())
    assert counted == 2 * (32 * 32 * 5 * 3 * 9) + 2 * (5 * 7)


def test_a_published_model_is_recorded_with_its_size(
    tiny_translation: Path, tiny_trained: Any
) -> None:
    found = recording.sized(tiny_translation, tiny_trained.architecture, tiny_trained.model)
    assert (found.name, found.architecture) == ("translation", "transformer")
    assert found.size is not None
    assert found.size.parameters == sizes.parameters(tiny_trained.model)
    assert found.size.flops > 2 * found.size.parameters, "fewer than a token of one hypothesis"
    assert found.training is None, "nobody has trained these weights"


def test_training_is_recorded_with_its_recipe_and_time(
    tiny_translation: Path, tmp_path: Path
) -> None:
    import shutil

    from service import manifest as manifests

    folder = Path(shutil.copytree(tiny_translation, tmp_path / "trained"))
    recipe = {"preset": "testing", "dataset": "reversal", "trained_steps": 300, "core_s": 12}
    changed = manifests.read(folder).model_copy(update={"recipe": recipe})
    (folder / manifests.NAME).write_text(changed.model_dump_json())
    of = architecture("transformer")
    model = of.build(of.config(**changed.config)).eval()
    training = recording.sized(folder, of, model).training
    assert training is not None
    assert (training.steps, training.core_s) == (300, 12)
    assert training.command == "python -m models train smoke --data-dir DIR"


def test_the_page_shows_all_systems_of_a_task_and_their_commands(tmp_path: Path) -> None:
    full = system(size=SIZE, training=TRAINING, quality=[QUALITY], serving=SERVING)
    path = tmp_path / "comparison.md"
    comparison.write([full, system("b")], path)
    text = path.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert (
        "| accuracy, % on shapes: test 91.2 | 2.00 | 3 | 0.50 | 1.5 / 2.5 | 100.0 (16 callers) |"
        in rows[0]
    )
    assert rows[1].count("|  |") >= 3, "a system without figures has none"
    for command in ("train a", "record a --data-dir DIR", "bench a"):
        assert command in text.splitlines()
    assert "Served by cpu, 2 cores." in text
    assert (tmp_path / "comparison" / "translation.png").stat().st_size > 1_000


def test_only_figures_on_the_same_data_stand_side_by_side() -> None:
    other = QUALITY.model_copy(update={"data": "colours"})
    shown = comparison.panels([system(quality=[QUALITY]), system("b", quality=[other])])
    assert shown == {"accuracy, %, shapes": {"a": 91.25}, "accuracy, %, colours": {"b": 91.25}}


def test_the_committed_page_is_that_of_the_records() -> None:
    folder = Path(__file__).parent.parent / "docs"
    page = (folder / comparison.PAGE.name).read_text(encoding="utf-8")
    assert page == comparison.page(systems.every(folder / "systems"))
