"""a result and the budgets → a row for each figure asked for: kept, broken or unproven."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict
from scipy.stats import binom

from loadtests.histogram import Histogram
from loadtests.results import Cell, Run, Search, Searched
from loadtests.validity import DOUBT, requests_needed
from loadtests.verdict.budgets import Budgets, Mix

Met = Literal["yes", "no", "unproven", "skipped"]
TIMED = ("single-stream", "multi-stream", "server", "closed", "soak", "replay")
"""Scenarios whose latency is a claim; the others drive the server where it cannot keep any."""
UNJUDGED = ("step", "spike")
"""They look for the edge and go over it, so that errors are what they are for."""
PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}


class Row(BaseModel):
    """One figure that was held against something."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    """What was measured: scenario, task and door."""
    figure: str
    saw: str
    wanted: str
    met: Met
    why: str = ""


def failed(rows: Sequence[Row]) -> bool:
    """Whether anything is broken or, where it was to be proven, unproven."""
    return any(row.met in ("no", "unproven") for row in rows)


def within(
    figure: str, subject: str, times: Histogram, *, failures: int, bound_ms: float, claim: float
) -> Row:
    """Is this percentile within the bound? Failures count as late.

    It is proven where so few late ones would be chance in at most 1 % of runs, and broken where the
    percentile of the requests sent is over the bound. Between the two nothing is known: that fails
    only if the run was to claim this percentile.
    """
    ratio = next(ratio for name, ratio in PERCENTILES.items() if figure.endswith(name))
    late, count = failures + times.over(bound_ms), failures + times.count
    met: Met = "yes"
    why = ""
    if late > (1 - ratio) * count or not count:
        met, why = "no", f"{late} of {count} were late or failed"
    elif float(binom.cdf(late, count, 1 - ratio)) > DOUBT:
        met = "unproven" if ratio <= claim else "skipped"
        why = f"{late} of {count} late; a claim needs {requests_needed(late, ratio)} requests"
    saw = f"{times.percentile_ms(ratio):,.1f} ms" if times.count else "no right answer"
    return Row(
        subject=subject, figure=figure, saw=saw, wanted=f"≤ {bound_ms:,g} ms", met=met, why=why
    )


def _errors(subject: str, cell: Cell, budget: Mix) -> Row | None:
    count = cell.answered + cell.failed
    if budget.errors is None:
        return None
    share = cell.failed / count if count else 1.0
    said = [f"{faults.count} {kind}: {faults.first}" for kind, faults in cell.faults.items()]
    return Row(
        subject=subject,
        figure="errors",
        saw=f"{share:.2%} of {count}",
        wanted=f"≤ {budget.errors:.2%}",
        met="yes" if share <= budget.errors else "no",
        why="; ".join(said),
    )


def at_least(subject: str, figure: str, saw_per_s: float | None, wanted_per_s: float) -> Row:
    """Is this rate reached?"""
    return Row(
        subject=subject,
        figure=figure,
        saw="none held" if saw_per_s is None else f"{saw_per_s:,.2f}/s",
        wanted=f"≥ {wanted_per_s:,g}/s",
        met="yes" if saw_per_s is not None and saw_per_s >= wanted_per_s else "no",
    )


def of_run(run: Run, budgets: Budgets) -> list[Row]:
    """A row for each budget of each task and door that this scenario can be held to."""
    scenario = run.terms.scenario
    if scenario in UNJUDGED:
        return []
    rows: list[Row | None] = []
    closed = all(phase.rate_per_s is None for phase in run.phases)
    for cell in run.cells():
        subject, budget = f"{scenario} {cell.task} {cell.door}", budgets.of(cell.task)
        if scenario in TIMED:
            rows += [
                within(
                    name,
                    subject,
                    cell.latency,
                    failures=cell.failed,
                    bound_ms=bound_ms,
                    claim=run.terms.percentile,
                )
                for name in PERCENTILES
                if (bound_ms := getattr(budget, name)) is not None
            ]
            if budget.first_token_p95_ms is not None and cell.first_token.count:
                rows.append(
                    within(
                        "first_token_p95_ms",
                        subject,
                        cell.first_token,
                        failures=0,
                        bound_ms=budget.first_token_p95_ms,
                        claim=run.terms.percentile,
                    )
                )
        rows.append(_errors(subject, cell, budget))
    if closed:
        rows.append(_throughput(run, budgets))
    return [row for row in rows if row]


def _throughput(run: Run, budgets: Budgets) -> Row | None:
    """Of callers who wait: one task's on one door, or that of all together."""
    cells = run.cells()
    single = len(cells) == 1
    wanted_per_s = (budgets.of(cells[0].task) if single else budgets.mix).requests_per_s
    if wanted_per_s is None:
        return None
    answered = sum(cell.answered for cell in cells)
    seen_per_s = answered / run.duration_s if run.duration_s else 0.0
    name = f"{cells[0].task} {cells[0].door}" if single else "mix"
    return at_least(f"{run.terms.scenario} {name}", "requests_per_s", seen_per_s, wanted_per_s)


def _of_searched(found: Searched, budgets: Budgets) -> list[Row]:
    task = found.name.split(" ")[0]
    budget = budgets.mix if task == "mix" else budgets.of(task)
    if budget.requests_per_s is None:
        return []
    return [
        at_least(f"search {found.name}", "highest rate", found.best_per_s, budget.requests_per_s)
    ]


def of_search(search: Search, budgets: Budgets) -> list[Row]:
    """A row for each highest rate that was looked for."""
    return [row for found in search.found for row in _of_searched(found, budgets)]
