"""An early exit saves time in the graphs that are served, and the page says how much."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from loadtests.peers import halting, lengths
from models.architectures.universal_transformer import UniversalTransformer
from models.halting import Thought

MOST = 3
"""Steps of the preset for tests."""


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(halting, "PRESET", "testing")
    for module in (halting, lengths):
        monkeypatch.setattr(module, "SOURCE_TOKENS", 4)
    monkeypatch.setattr(halting, "RUNS", 2)
    page = tmp_path / "systems" / "universal_transformer.md"
    page.parent.mkdir()
    page.write_text(f"before\n{halting.BEGIN}\nold\n{halting.END}\nafter\n", encoding="utf-8")
    (tmp_path / "benchmarks").mkdir()
    return tmp_path


def test_every_number_of_steps_is_timed_and_shown(docs: Path) -> None:
    arguments = ["--turns", "1", "--threads", "1", "--docs", str(docs)]
    done = CliRunner().invoke(halting.app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((docs / "benchmarks" / "halting.json").read_text())["steps"]
    assert list(found) == [str(steps) for steps in range(1, MOST + 1)]
    assert all(each[graph] > 0 for each in found.values() for graph in halting.GRAPHS)
    page = (docs / "systems" / "universal_transformer.md").read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert "old" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" ")[1] for row in rows[1:]] == list(found)
    assert rows[-1].count("100 %") == len(halting.GRAPHS)


@pytest.mark.parametrize("steps", range(1, MOST + 1))
def test_all_tokens_halt_at_the_step_that_is_wanted(
    docs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps: int
) -> None:
    seen: dict[str, tuple[Thought, Thought]] = {}

    def kept(_: object, model: UniversalTransformer, *__: object, **___: object) -> None:
        source, lengths = torch.randint(3, 60, (2, 4)), torch.tensor([4, 2])
        seen["thoughts"] = model.eval().thoughts(source, lengths, source)

    monkeypatch.setattr(halting, "exported", kept)
    halting.halts_after(steps, tmp_path, threads=1)
    of_source, of_target = seen["thoughts"]
    assert of_source.steps.tolist() == [[steps] * 4, [steps] * 2 + [0] * 2]
    assert of_target.steps.tolist() == [[steps] * 4] * 2
