"""A checkpoint is imported and served by the command that times it, and a broken one is told."""

from pathlib import Path

import checkpoints
import pytest
import typer

from loadtests.serving import imported


def test_a_checkpoint_is_imported_and_answers_in_time(tmp_path: Path) -> None:
    rows = imported.measured(checkpoints.marian(tmp_path / "opus-mt-en-de"), tmp_path)
    found = {row.tried: row for row in rows}
    assert found["and its first answer"].met == "yes"
    # Its libraries alone are more than so small a checkpoint.
    assert found["memory of the import"].met == "no"


def test_why_a_checkpoint_is_not_imported_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(typer.BadParameter, match=r"config\.json is missing"):
        imported.imported(tmp_path / "empty", tmp_path)
