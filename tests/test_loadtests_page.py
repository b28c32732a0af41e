"""The report: one page that needs nothing else, says what is void, and shows what was measured."""

import json
import re
from pathlib import Path
from shutil import which

import pytest
from fake_results import MACHINE, SERVER, a_run, a_search, cell
from PIL import Image
from rich.console import Console

from loadtests.conclusion import conclude
from loadtests.histogram import Histogram
from loadtests.page import browser, sections
from loadtests.page.pictures import batch_rows, latency_load, stages
from loadtests.results import Block, Comparison, Result, Run
from loadtests.verdict import baseline, budgets, differences
from loadtests.verdict.budgets import Budget, Budgets

WANTED = Budgets(tasks={"translation": Budget(p99_ms=400, errors=0.01)})


def report(folder: Path, *results: Result, wanted: Budgets = WANTED) -> tuple[int, str, str]:
    """Exit code, page, and what the terminal shows."""
    console = Console(width=140, record=True, quiet=False)
    with console.capture() as said:
        code = conclude(list(results), folder, budgets=wanted, older=None, console=console)
    return code, (folder / "report.html").read_text(encoding="utf-8"), said.get()


def compared(change: float, pairs: int = 8) -> Comparison:
    run = a_run(cell())
    blocks = [
        Block(
            pair=pair,
            side=side,
            duration_s=10,
            cells=[
                cell(
                    middle_ms=50 * (1 + change * (side == "b")),
                    count=200,
                    seed=2 * pair + (side == "b"),
                )
            ],
        )
        for pair in range(pairs)
        for side in ("a", "b")
    ]  # fmt: skip
    return Comparison(
        began=run.began,
        terms=run.terms,
        machine=MACHINE,
        a=SERVER,
        b=SERVER,
        pairs=pairs,
        blocks=blocks,
    )


def test_one_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    code, page, _ = report(tmp_path, a_search(), a_run(cell()))
    assert code == 0
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "<script" not in page
    assert "url(http" not in page
    assert page.count("<svg ") == 6
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_pictures_markdown_and_json_are_beside_it(tmp_path: Path) -> None:
    report(tmp_path, a_search(), a_run(cell(failed=5)))
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == [
        "01-search-translation-REST.png",
        "02-server-batch_rows.png",
        "02-server-errors.png",
        "02-server-latency_cdf.png",
        "02-server-server.png",
        "02-server-stages.png",
        "02-server-throughput.png",
    ]
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"\(pictures/([^)]*)\)", written) == sorted(pictures, key=written.index)
    assert "| translation REST | refused | 503 the queue is full | 5 |" in written
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert figures["state"] == "passed"
    assert figures["results"][0]["found"][0]["best_per_s"] == 56.0
    assert figures["results"][1]["cells"][0]["p50_ms"] == pytest.approx(50, rel=0.05)


def test_an_older_report_in_the_folder_leaves_no_pictures(tmp_path: Path) -> None:
    report(tmp_path, a_run(cell(failed=5)))
    report(tmp_path, a_run(cell()))
    assert not list((tmp_path / "pictures").glob("*errors*"))


def test_a_void_run_says_so_everywhere_and_fails(tmp_path: Path) -> None:
    code, page, said = report(tmp_path, a_run(cell(), void=["interrupted"]))
    assert code == 1
    assert page.index("<strong>void</strong>") < page.index("<h2")
    assert "<li>interrupted</li>" in page
    assert page.count(">VOID<") == page.count("<svg ")
    assert "void: interrupted" in said
    assert "**VOID: interrupted**" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["void"] == ["interrupted"]


def test_a_run_that_was_ended_before_any_answer_is_shown(tmp_path: Path) -> None:
    ended = a_run(void=["interrupted"])
    ended.phases, ended.timeline, ended.samples, ended.batches = [], [], [], []
    ended.send_lag = Histogram()
    code, page, _ = report(tmp_path, ended)
    assert code == 1
    assert "<svg " not in page


def test_a_broken_budget_fails_and_stands_before_what_was_kept(tmp_path: Path) -> None:
    code, page, said = report(tmp_path, a_run(cell(middle_ms=200)))
    assert code == 1
    assert "1 of 2 figures are not what was wanted" in page
    assert page.index("p99_ms</td>") < page.index("errors</td>")
    assert "no: server translation REST p99_ms" in said


def test_nothing_to_judge_is_said_and_no_failure(tmp_path: Path) -> None:
    code, page, _ = report(tmp_path, a_run(cell()), wanted=Budgets())
    assert code == 0
    assert "<strong>not judged</strong>" in page


def test_what_a_server_says_is_text_and_not_markup(tmp_path: Path) -> None:
    hostile = a_run(cell(failed=1))
    next(iter(hostile.cells()[0].faults.values())).first = ""
    for faults in hostile.phases[0].cells[0].faults.values():
        faults.first = "<script>alert(1)</script> | a\nline"
    _, page, _ = report(tmp_path, hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\\| a line" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_task_of_another_name_cannot_write_elsewhere(tmp_path: Path) -> None:
    search = a_search()
    search.found[0].name = "../../escaped REST"
    report(tmp_path / "report", search)
    assert not list(tmp_path.glob("*.png"))
    assert len(list((tmp_path / "report" / "pictures").iterdir())) == 1


def test_the_knee_is_where_rate_by_latency_is_highest() -> None:
    points = latency_load.of_search(a_search().found[0])
    best = latency_load.knee(points)
    assert best.rate_per_s == 32.0
    assert all(
        best.rate_per_s / best.times.mean_ms >= each.rate_per_s / each.times.mean_ms
        for each in points
    )


def test_steps_of_a_run_make_a_curve() -> None:
    run = a_run(cell(), scenario="step")
    assert latency_load.draw("x", latency_load.of_steps(run), bound_ms=None, void=False) is None
    second = run.phases[0].model_copy(
        update={"rate_per_s": 40.0, "cells": [cell(middle_ms=300, count=500, failed=500)]}
    )
    run.phases.append(second)
    assert [point.held for point in latency_load.of_steps(run)] == [True, False]
    titles = [picture.title for picture in sections.of_run(run, 1).pictures]
    assert titles[0] == latency_load.TITLE


def test_stages_and_the_rest_add_up_to_the_latency() -> None:
    measured = cell()
    parts = stages.parts_ms(measured)
    assert sum(parts.values()) == pytest.approx(measured.latency.mean_ms, rel=1e-3)
    assert list(parts)[:3] == ["preprocess", "queue", "compute"]
    assert parts[stages.LATE] == pytest.approx(0.1 * measured.latency.mean_ms, rel=0.01)


def test_shares_of_batches_add_up_to_one() -> None:
    assert sum(batch_rows.shares(a_run().batches[0]).values()) == pytest.approx(1)


def test_a_server_that_tells_nothing_has_no_such_pictures() -> None:
    run = a_run(cell())
    run.samples, run.batches = [], []
    run.phases[0].cells[0].stages = {}
    names = {picture.name for picture in sections.of_run(run, 1).pictures}
    assert names == {"01-server-latency_cdf", "01-server-throughput"}


def test_a_worse_deployment_fails_and_an_equal_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "RESAMPLES", 999)
    code, page, said = report(tmp_path, compared(0.5))
    assert code == 1
    assert "p50_ms: worse" in said
    assert '<td class="worse">worse</td>' in page
    code, page, _ = report(tmp_path, compared(0.0))
    assert code == 0
    assert "no difference larger than noise" in page


def test_a_comparison_of_too_few_pairs_is_void(tmp_path: Path) -> None:
    few = compared(0.5)
    for block in few.blocks[:12]:
        block.late = "requests left late"
    code, page, said = report(tmp_path, few)
    assert code == 1
    assert "2 pairs of blocks cannot tell 3 figures" in page
    assert "6 left out because the generator was late" in page
    assert "void: 2 pairs" in said


def test_the_budgets_and_the_baseline_are_held_together(tmp_path: Path) -> None:
    older = baseline.read(baseline.save([a_run(cell(middle_ms=10))], tmp_path))
    results: list[Run] = [a_run(cell())]
    console = Console(quiet=True)
    code = conclude(results, tmp_path / "r", budgets=budgets.read(), older=older, console=console)
    assert code == 1
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "against the baseline" in page


needs_browser = pytest.mark.skipif(
    not any(map(which, browser.NAMES)), reason="no Chromium is installed"
)


@needs_browser
def test_nobody_scrolls_sideways_and_a_browser_takes_the_picture(tmp_path: Path) -> None:
    report(tmp_path, a_search(), a_run(cell(failed=5)), compared(0.2))
    browser.photographed(tmp_path / "report.html", tmp_path / "shown.png")
    with Image.open(tmp_path / "shown.png") as picture:
        assert picture.size[0] == browser.PHONE_PX + browser.GAP_PX + browser.WIDE_PX
        colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours
        assert len(colours) > 50, "the pictures are in it"


@needs_browser
def test_a_page_that_is_too_wide_for_a_phone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<div style='width: 500px'>wide</div>")
    with pytest.raises(browser.BrowserError, match="px wider than the screen"):
        browser.photographed(tmp_path / "page.html", tmp_path / "shown.png")
    assert not (tmp_path / "shown.png").exists()


def test_without_a_browser_it_says_which_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "page.html").write_text("")
    with pytest.raises(browser.BrowserError, match="none of chromium"):
        browser.photographed(tmp_path / "page.html", tmp_path / "shown.png")
