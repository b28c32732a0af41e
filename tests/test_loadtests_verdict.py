"""Budgets that say what is misspelt, verdicts that say what is proven, baselines of one machine."""

from pathlib import Path

import pytest
from fake_results import MACHINE, a_run, a_search, cell

from loadtests.results import Fault, Faults
from loadtests.verdict import baseline, budgets, derive, judge
from loadtests.verdict.budgets import Budget, BudgetError, Budgets, Mix
from service.tasks import tasks


def rows_of(run_rows: list[judge.Row]) -> dict[str, judge.Row]:
    return {row.figure: row for row in run_rows}


def test_the_shipped_budgets_are_those_of_tasks_that_were_measured() -> None:
    assert {"translation", "image-classification"} <= set(budgets.read().tasks)
    assert set(budgets.read().tasks) <= {task.name for task in tasks()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tasks.translation]\np9_ms = 3", "tasks.translation.p9_ms: unknown; did you mean p9"),
        ("[tasks.translaton]\np99_ms = 3", "tasks.translaton: unknown; did you mean translation?"),
        ("[task.translation]\np99_ms = 3", "task: unknown; did you mean tasks?"),
        ("[tasks.translation]\np99_ms = -3", "tasks.translation.p99_ms: Input should be greater"),
        ("[tasks.translation]\np99_ms = '3'", "tasks.translation.p99_ms: Input should be a valid"),
        ("[mix]\nerrors = 2.0", "mix.errors: Input should be less"),
        ("[baseline]\ncolour = 1", "baseline.colour: unknown; known are tolerance"),
        ("[tasks", "Expected ']' at the end"),
        ("tasks = 3", "tasks: Input should be a valid dictionary"),
    ],
)
def test_a_budget_file_with_a_typo_names_the_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(text)
    with pytest.raises(BudgetError, match=r"budgets\.toml") as caught:
        budgets.read(path)
    assert said in str(caught.value)


def test_a_budget_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"nowhere\.toml"):
        budgets.read(tmp_path / "nowhere.toml")


WANTED = Budgets(
    tasks={
        "translation": Budget(p50_ms=80, p95_ms=200, p99_ms=400, errors=0.01, requests_per_s=10.0)
    },
    mix=Mix(requests_per_s=10.0),
)


def test_a_run_within_its_budget_passes() -> None:
    rows = judge.of_run(a_run(cell()), WANTED)
    assert [row.met for row in rows] == ["yes"] * 4
    assert not judge.failed(rows)


@pytest.mark.parametrize(
    ("broken", "figure"),
    [
        (cell(middle_ms=90.0), "p50_ms"),
        (cell(middle_ms=100.0), "p95_ms"),
        (cell(middle_ms=200.0), "p99_ms"),
        (cell(failed=50), "errors"),
        (cell(failed=50), "p99_ms"),  # a request without a right answer is late
    ],
)
def test_a_broken_budget_fails(broken: object, figure: str) -> None:
    rows = rows_of(judge.of_run(a_run(broken), WANTED))  # type: ignore[arg-type]
    assert rows[figure].met == "no"
    assert judge.failed(list(rows.values()))


def test_a_p99_of_too_few_requests_is_unproven_if_it_was_to_be_claimed() -> None:
    few = cell(count=200)
    claimed = rows_of(judge.of_run(a_run(few), WANTED))["p99_ms"]
    assert claimed.met == "unproven"
    assert "a claim needs 459 requests" in claimed.why
    assert judge.failed([claimed])
    shown = rows_of(judge.of_run(a_run(few, percentile=0.95), WANTED))["p99_ms"]
    assert shown.met == "skipped"
    assert not judge.failed([shown])


def test_a_run_without_one_right_answer_fails() -> None:
    rows = judge.of_run(a_run(cell(count=0, failed=5)), WANTED)
    assert {row.met for row in rows} == {"no"}


def test_throughput_is_judged_where_the_server_sets_it() -> None:
    opened = rows_of(judge.of_run(a_run(cell()), WANTED))
    assert "requests_per_s" not in opened
    closed = rows_of(judge.of_run(a_run(cell(), scenario="closed", rate_per_s=None), WANTED))
    assert closed["requests_per_s"].saw == "20.00/s"
    assert closed["requests_per_s"].met == "yes"
    slow = a_run(cell(), scenario="offline", rate_per_s=None, duration_s=1_000)
    assert rows_of(judge.of_run(slow, WANTED))["requests_per_s"].met == "no"


def test_latency_is_no_claim_where_all_requests_come_at_once() -> None:
    slow = a_run(cell(middle_ms=9_000.0), scenario="offline", rate_per_s=None)
    assert "p99_ms" not in rows_of(judge.of_run(slow, WANTED))
    assert judge.of_run(a_run(cell(middle_ms=9_000.0), scenario="spike"), WANTED) == []


def test_a_first_token_is_judged_where_texts_were_streamed() -> None:
    wanted = Budgets(tasks={"translation": Budget(first_token_p95_ms=10.0)})
    assert judge.of_run(a_run(cell()), wanted) == []
    streamed = cell()
    streamed.first_token = streamed.latency
    assert judge.of_run(a_run(streamed), wanted)[0].met == "no"


def test_a_search_is_held_to_the_highest_rate() -> None:
    assert judge.of_search(a_search(), WANTED)[0].met == "yes"
    assert judge.of_search(a_search(best_per_s=9.0), WANTED)[0].met == "no"
    none_held = judge.of_search(a_search(best_per_s=None), WANTED)[0]
    assert (none_held.saw, none_held.met) == ("none held", "no")


def test_a_baseline_comes_back_whole(tmp_path: Path) -> None:
    path = baseline.save([a_run(), a_search()], tmp_path)
    assert path.name == "a-cpu-2-cores-8-gib-linux.json"
    kept = baseline.read(path)
    assert kept.machine == MACHINE
    assert kept.runs[0].cells()[0].latency == a_run().cells()[0].latency
    assert kept.searches[0].found[0].best_per_s == 56.0


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "no results"),
        ([a_run(void=["the generator was late"])], "void result is no baseline: the generator"),
        ([a_run(), a_run(machine=MACHINE.model_copy(update={"cores": 4}))], "different machines"),
    ],
)
def test_only_valid_results_of_one_machine_are_saved(
    results: list[object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(baseline.BaselineError, match=said):
        baseline.save(results, tmp_path)  # type: ignore[arg-type]


def test_a_baseline_that_is_not_one_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path / "wrong.json"):
        if path.stem == "wrong":
            path.write_text('{"runs": 3}')
        with pytest.raises(baseline.BaselineError, match=path.name):
            baseline.read(path)


def saved(tmp_path: Path) -> baseline.Baseline:
    return baseline.read(baseline.save([a_run(cell()), a_search()], tmp_path))


def test_the_same_again_is_no_worse(tmp_path: Path) -> None:
    again = [a_run(cell(seed=1)), a_search()]
    rows = baseline.against(again, saved(tmp_path), 0.1)
    assert len(rows) == 5
    assert {row.met for row in rows} == {"yes"}


def test_slower_answers_more_errors_and_lower_rates_are_worse(tmp_path: Path) -> None:
    worse = a_search(best_per_s=20.0)
    worse.found[0].fails_per_s = 22.0
    rows = baseline.against([a_run(cell(middle_ms=75, failed=20)), worse], saved(tmp_path), 0.1)
    assert {row.met for row in rows} == {"no"}
    assert "(-61%)" in rows[-1].saw


def test_what_is_faster_than_noise_is_called_better(tmp_path: Path) -> None:
    rows = baseline.against([a_run(cell(middle_ms=25))], saved(tmp_path), 0.1)
    assert rows[0].why == "better"


def test_a_baseline_of_another_machine_is_not_compared(tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"cores": 64})
    rows = baseline.against([a_run(cell(), machine=other)], saved(tmp_path), 0.1)
    assert [row.met for row in rows] == ["skipped"]
    assert "taken on a cpu, 2 cores" in rows[0].why
    assert "this is a cpu, 64 cores" in rows[0].why


def test_another_python_is_compared(tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"python": "3.14"})
    rows = baseline.against([a_run(cell(), machine=other)], saved(tmp_path), 0.1)
    assert "skipped" not in {row.met for row in rows}


def test_other_terms_are_not_compared_and_are_named(tmp_path: Path) -> None:
    longer = a_run(cell(), duration_s=200.0)
    elsewhere = a_run(cell())
    elsewhere.server = elsewhere.server.model_copy(
        update={"addresses": {"REST": "http://far.example:3000", "gRPC": "far.example:50051"}}
    )
    rows = baseline.against(
        [longer, elsewhere, a_run(cell(), scenario="soak")], saved(tmp_path), 0.1
    )
    assert {row.met for row in rows} == {"skipped"}
    said = [row.why for row in rows]
    assert said == ["duration_s 100.0 → 200.0", "another server host", "not in the baseline"]


def test_the_first_words_of_an_error_are_in_the_verdict() -> None:
    failing = cell(failed=50)
    failing.faults[Fault.WRONG] = Faults(count=1, first="Hund is not Katze")
    rows = rows_of(judge.of_run(a_run(failing), WANTED))
    assert "1 wrong: Hund is not Katze" in rows["errors"].why


def test_budgets_are_what_was_measured_with_a_margin_and_keep_what_was_not(tmp_path: Path) -> None:
    streamed = cell(door="REST-stream", middle_ms=70)
    streamed.first_token = streamed.latency
    run, search = a_run(cell(), streamed), a_search(best_per_s=57.3)
    chosen = Budget(bound_ms=800, p99_ms=1, requests_per_s=1)
    older = Budgets(tasks={"translation": chosen}, mix=Mix(requests_per_s=3))
    new = derive.derived([run, search], older, margin=2)
    of = new.of("translation")
    slowest = streamed.latency
    for figure, ratio in judge.PERCENTILES.items():
        seen_ms = 2 * slowest.percentile_ms(ratio)
        assert seen_ms <= getattr(of, figure) <= 1.1 * seen_ms
    assert of.first_token_p95_ms == of.p95_ms
    assert (of.bound_ms, of.errors, of.requests_per_s) == (800, 0, 28)
    assert new.mix == Mix(errors=0, requests_per_s=3)
    file = tmp_path / "budgets.toml"
    file.write_text(derive.text(new, [run, search], 2))
    assert budgets.read(file) == new
    assert "a cpu, 2 cores" in file.read_text()
    assert not judge.failed([*judge.of_run(run, new), *judge.of_search(search, new)])


def test_budgets_do_not_follow_from_void_results_or_two_machines() -> None:
    with pytest.raises(BudgetError, match="void result: interrupted"):
        derive.derived([a_run(cell(), void=["interrupted"])], Budgets(), 2)
    other = MACHINE.model_copy(update={"cores": 64})
    with pytest.raises(BudgetError, match="different machines"):
        derive.derived([a_run(cell()), a_run(cell(), machine=other)], Budgets(), 2)


def test_the_throughput_of_a_mixed_load_is_held_against_that_of_the_mix() -> None:
    mixed = a_run(cell(count=500), cell("image-classification"), scenario="closed", rate_per_s=None)
    wanted = Budgets(tasks={"translation": Budget(requests_per_s=10)}, mix=Mix(requests_per_s=20))
    assert [(row.subject, row.met) for row in judge.of_run(mixed, wanted)] == [
        ("closed mix", "yes")
    ]
