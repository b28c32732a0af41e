"""results → the budgets that they keep with a margin, and the file that says so."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import ceil, floor, log10

from loadtests.histogram import Histogram
from loadtests.results import Cell, Run, Search
from loadtests.verdict.baseline import same_machine, words
from loadtests.verdict.budgets import Budget, BudgetError, Budgets, Mix
from loadtests.verdict.judge import PERCENTILES, TIMED

DIGITS = 2
"""Of a budget that was measured; more would not come out again."""
FIRST_TOKEN_RATIO = 0.95
HEAD = """\
# What each task has to keep, on every door; see budgets.py for what may stand here. Times are in
# ms from the moment at which a request was due, errors are shares, rates those of the one task.
# Written on {date} by `python -m loadtests budgets` with a margin of {margin:g}, by which
# the slowest door's times are multiplied and the rates that searches found divided, from
{what}
# on {machine}.
# Chosen, not measured: `bound_ms`, the bound of a search, and the tolerance against a baseline.
"""


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    if value <= 0:
        return 0.0
    digit = 10.0 ** (floor(log10(value)) - DIGITS + 1)
    return round(towards(round(value / digit, 6)) * digit, 6)


def _slowest_ms(times: Iterable[Histogram], ratio: float, margin: float) -> float | None:
    seen = [each.percentile_ms(ratio) for each in times if each.count]
    return _rounded(max(seen) * margin, ceil) if seen else None


def _errors(cells: Sequence[Cell], margin: float) -> float | None:
    shares = [cell.failed / sent for cell in cells if (sent := cell.answered + cell.failed)]
    return min(1.0, _rounded(max(shares) * margin, ceil)) if shares else None


def _rate(searches: Sequence[Search], names: Callable[[str], bool], margin: float) -> float | None:
    seen = [
        one.best_per_s
        for search in searches
        for one in search.found
        if names(one.name) and one.best_per_s is not None
    ]
    return _rounded(min(seen) / margin, floor) if seen else None


def _told(**figures: float | None) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


def derived(results: Sequence[Run | Search], older: Budgets, margin: float) -> Budgets:
    """What the results do not tell stays as it was. Raises BudgetError unless they are valid."""
    if void := [reason for result in results for reason in result.void]:
        raise BudgetError(f"no budget follows from a void result: {'; '.join(void)}")
    if any(not same_machine(each.machine, results[0].machine) for each in results):
        raise BudgetError("the results are from different machines")
    searches = [each for each in results if isinstance(each, Search)]
    runs = [each for each in results if isinstance(each, Run) and each.terms.scenario in TIMED]
    cells = [cell for run in runs for cell in run.cells()]
    names = dict.fromkeys([cell.task for cell in cells])
    names |= dict.fromkeys(task for search in searches for task in search.bounds_ms)
    tasks: dict[str, Budget] = dict(older.tasks)
    for name in names:
        own = [cell for cell in cells if cell.task == name]
        first = (cell.first_token for cell in own)
        percentiles = {
            figure: _slowest_ms((cell.latency for cell in own), ratio, margin)
            for figure, ratio in PERCENTILES.items()
        }
        told = _told(
            **percentiles,
            first_token_p95_ms=_slowest_ms(first, FIRST_TOKEN_RATIO, margin),
            errors=_errors(own, margin),
            requests_per_s=_rate(searches, lambda one, of=name: one.split(" ")[0] == of, margin),  # type: ignore[misc]
        )
        tasks[name] = older.of(name).model_copy(update=told)
    mix = _told(
        errors=_errors(cells, margin),
        requests_per_s=_rate(searches, lambda one: one == "mix", margin),
    )
    return Budgets(baseline=older.baseline, tasks=tasks, mix=older.mix.model_copy(update=mix))


def text(budgets: Budgets, results: Sequence[Run | Search], margin: float) -> str:
    """The file: TOML, with where its figures come from at its head."""
    what = "\n".join(
        f"# - the search of {each.began}"
        if isinstance(each, Search)
        else f"# - `{each.terms.scenario}`, {each.terms.duration_s:g} s, of {each.began}"
        for each in results
    )
    head = HEAD.format(
        date=datetime.now(UTC).date().isoformat(),
        what=what,
        machine=words(results[0].machine),
        margin=margin,
    )
    tables: dict[str, Budget | Mix] = {f"tasks.{name}": of for name, of in budgets.tasks.items()}
    lines = [f"[baseline]\ntolerance = {budgets.baseline.tolerance:g}"]
    for name, table in {**tables, "mix": budgets.mix}.items():
        values = table.model_dump(exclude_none=True)
        order = sorted(values, key=lambda key: key in Mix.model_fields)
        lines.append("\n".join([f"[{name}]", *(f"{key} = {values[key]:g}" for key in order)]))
    return head + "\n" + "\n\n".join(lines) + "\n"
