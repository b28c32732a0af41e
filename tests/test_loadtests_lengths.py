"""Steps as texts grow: what a row keeps is counted, and the page says what was measured."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.peers import lengths

HEADS, HEAD_DIM, LAYERS = 2, 16, 2
"""Of the presets for tests."""
FLOAT_BYTES, SIDES, BUFFERS = 4, 2, 2


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents after a measurement."""
    folder = tmp_path_factory.mktemp("docs")
    page = folder / "systems" / "linear_attention.md"
    page.parent.mkdir()
    page.write_text(f"before\n{lengths.BEGIN}\nold\n{lengths.END}\nafter\n", encoding="utf-8")
    small = {
        "PRESET": "testing", "SOURCE_TOKENS": 4, "ROWS": 2, "STEPS": 2, "LENGTHS": (64, 256, 1_024),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(lengths, name, value)
        arguments = ["--turns", "1", "--threads", "1", "--longest", "256", "--docs", str(folder)]
        done = CliRunner().invoke(lengths.app, arguments)
    assert done.exit_code == 0, done.output
    return folder


def test_a_cache_grows_with_the_text_and_a_state_does_not(docs: Path) -> None:
    found = json.loads((docs / "benchmarks" / "lengths.json").read_text())
    kib = {
        name: {int(length): each["row_kib"] for length, each in found[name].items()}
        for name in ("softmax", "linear")
    }
    token_bytes = LAYERS * SIDES * HEADS * HEAD_DIM * FLOAT_BYTES
    assert kib["softmax"] == {n: n * token_bytes / 1024 for n in (64, 256)}
    state_bytes = BUFFERS * LAYERS * HEADS * HEAD_DIM * (HEAD_DIM + 1) * FLOAT_BYTES
    assert kib["linear"] == dict.fromkeys((64, 256), round(state_bytes / 1024, 1))
    assert all(found[name]["256"]["step_ms"] > 0 for name in kib)


def test_the_page_keeps_its_words_and_gets_the_table_and_the_plot(docs: Path) -> None:
    page = (docs / "systems" / "linear_attention.md").read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" ")[1] for row in rows[1:]] == ["64", "256"]
    assert (docs / "benchmarks" / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_its_marks_is_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        lengths.rewritten("before\n", "table")
