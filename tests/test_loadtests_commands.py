"""`report`, `baseline` and what is said of files that are wrong, before anything is measured."""

from pathlib import Path

import pytest
from fake_results import a_run, a_search, cell
from typer.testing import CliRunner

from loadtests.__main__ import app
from loadtests.results import write

TYPO = "[tasks.translation]\np9_ms = 3\n"


def called(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "400"})
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["run", "search"])
def test_a_typo_in_the_budgets_ends_a_command_before_it_measures(
    command: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(TYPO)
    code, said = called(command, "--against", "127.0.0.1:1", "--budgets", wrong)
    assert code == 2
    assert "tasks.translation.p9_ms: unknown; did you mean p99_ms?" in said


def test_a_report_of_saved_results_passes_and_fails_by_the_budgets(tmp_path: Path) -> None:
    write(a_run(cell()), tmp_path / "run.json")
    write(a_search(), tmp_path / "slo.json")
    kept = tmp_path / "kept.toml"
    kept.write_text("[tasks.translation]\np99_ms = 400\nrequests_per_s = 50\n")
    files = (tmp_path / "run.json", tmp_path / "slo.json")
    code, said = called("report", *files, "--out", tmp_path / "out", "--budgets", kept)
    assert code == 0, said
    assert "passed: " in said
    kept.write_text("[tasks.translation]\nrequests_per_s = 60\n")
    code, said = called("report", *files, "--out", tmp_path / "out", "--budgets", kept)
    assert code == 1
    assert "failed: " in said


def test_a_saved_baseline_is_held_against_a_later_report(tmp_path: Path) -> None:
    write(a_run(cell()), tmp_path / "then.json")
    write(a_run(cell(middle_ms=100)), tmp_path / "now.json")
    code, said = called("baseline", tmp_path / "then.json", "--folder", tmp_path)
    assert code == 0
    older = said.strip()
    code, said = called(
        "report", tmp_path / "now.json", "--out", tmp_path / "out", "--baseline", older
    )
    assert code == 1
    assert "p50_ms against the baseline" in said


@pytest.mark.parametrize("command", ["report", "baseline"])
def test_a_file_that_is_no_result_is_refused(command: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    code, said = called(command, tmp_path / "x.json")
    assert code == 2
    assert "not what a run or search has written" in said


def test_a_void_result_is_no_baseline(tmp_path: Path) -> None:
    write(a_run(cell(), void=["interrupted"]), tmp_path / "run.json")
    code, said = called("baseline", tmp_path / "run.json", "--folder", tmp_path)
    assert code == 2
    assert "a void result is no baseline: interrupted" in said


def test_budgets_are_written_from_results_and_void_ones_are_refused(tmp_path: Path) -> None:
    write(a_run(cell()), tmp_path / "run.json")
    out = tmp_path / "budgets.toml"
    code, said = called("budgets", tmp_path / "run.json", "--out", out)
    assert (code, said.strip()) == (0, str(out)), said
    code, said = called("report", tmp_path / "run.json", "--out", tmp_path, "--budgets", out)
    assert code == 0, said
    write(a_run(cell(), void=["interrupted"]), tmp_path / "run.json")
    code, said = called("budgets", tmp_path / "run.json", "--out", out)
    assert code == 2
    assert "void result: interrupted" in said
