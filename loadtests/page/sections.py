"""a result → a section of the page: its terms, its pictures, its tables, and why it may be void."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtests.page.pictures import (
    batch_rows,
    changes,
    errors,
    latency_cdf,
    latency_load,
    server,
    stages,
    throughput,
)
from loadtests.page.style import Picture, number
from loadtests.results import Comparison, Result, Run, Search, Searched, Terms
from loadtests.verdict.comparison import differences
from loadtests.verdict.differences import Difference
from loadtests.verdict.judge import Row

OF_RUNS = (latency_cdf, throughput, stages, batch_rows, server, errors)


@dataclass(frozen=True)
class Table:
    """Words in rows; all but the first columns `text` are figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


@dataclass(frozen=True)
class Section:
    """What is shown of one result."""

    title: str
    about: str
    void: Sequence[str]
    pictures: Sequence[Picture]
    tables: Sequence[Table]
    figures: object = field(default=None)
    """The same for programs."""
    rows: Sequence[Row] = ()
    """What it says by itself, without a budget: where one of two deployments is worse."""


def _terms(terms: Terms) -> str:
    arguments = [f"{name} {value:g}" for name, value in terms.arguments.items()]
    said = [*arguments, f"{terms.duration_s:g} s", f"payloads: {terms.payloads}"]
    more = [f"goldens: {terms.goldens}", f"seed {terms.seed}", f"{terms.workers} generator(s)"]
    return ", ".join([*said, *more])


def _cells(run: Run) -> tuple[Table, list[dict[str, Any]]]:
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    for cell in run.cells():
        shown = {
            "task": cell.task,
            "door": cell.door,
            "answered": cell.answered,
            "failed": cell.failed,
            "per_s": cell.answered / run.duration_s if run.duration_s else 0.0,
            **{
                f"{name}_ms": cell.latency.percentile_ms(ratio)
                for name, ratio in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
            },
            "max_ms": cell.latency.max_ms,
            "first_token_p95_ms": cell.first_token.percentile_ms(0.95)
            if cell.first_token.count
            else None,
        }
        figures.append(shown)
        words = [
            number(v) if isinstance(v, float) else f"{v:,}" for v in list(shown.values())[2:-1]
        ]
        first = shown["first_token_p95_ms"]
        token = number(first) if isinstance(first, float) else "–"
        rows.append([f"{cell.task} {cell.door}", *words, token])
    head = ["", "answered", "failed", "per s", "p50 ms", "p95", "p99", "p99.9", "max", "first p95"]
    return Table("Figures", head, rows), figures


def _faults(run: Run) -> list[Table]:
    rows = [
        [f"{cell.task} {cell.door}", kind.value, faults.first, f"{faults.count:,}"]
        for cell in run.cells()
        for kind, faults in cell.faults.items()
    ]
    return [Table("Errors", ["", "kind", "the first", "count"], rows, text=3)] if rows else []


def of_run(run: Run, number_of: int) -> Section:
    """Everything that was measured in one run."""
    scenario = run.terms.scenario
    void = bool(run.void)
    prefix = f"{number_of:02}-{scenario}"
    drawn = [
        module.draw(f"{prefix}-{module.__name__.rpartition('.')[2]}", run, void=void)
        for module in OF_RUNS
    ]
    curve = latency_load.draw(
        f"{prefix}-latency_load", latency_load.of_steps(run), bound_ms=None, void=void
    )
    table, figures = _cells(run)
    lag = f"; send lag p99 {run.send_lag.percentile_ms(0.99):.2f} ms" if run.send_lag.count else ""
    absent = "".join(f"; {what} not measured: {why}" for what, why in run.server.absent.items())
    return Section(
        title=f"Scenario {scenario}",
        about=f"{run.began}: {_terms(run.terms)}{lag}{absent}.",
        void=run.void,
        pictures=[picture for picture in (curve, *drawn) if picture],
        tables=[table, *_faults(run)],
        figures={"terms": run.terms.model_dump(), "void": run.void, "cells": figures},
    )


def _trials(found: Searched) -> Table:
    rows = []
    for trial in found.trials:
        times = latency_load.all_times(trial.run.cells())
        percentiles = [number(times.percentile_ms(ratio)) for ratio in (0.5, 0.99)]
        broke = trial.late > trial.allowed
        state = "held" if trial.held else "broke" if broke else "undecided"
        counts = [f"{trial.late:,}", f"{trial.allowed:,}"]
        rows.append([f"{number(trial.rate_per_s)}/s", state, *percentiles, *counts])
    return Table(found.name, ["rate", "", "p50 ms", "p99 ms", "late", "allowed"], rows, text=2)


def _answer(found: Searched) -> str:
    if found.best_per_s is None:
        return f"{found.name}: no rate held"
    fails = "none failed" if found.fails_per_s is None else f"{number(found.fails_per_s)} fails"
    claimed = 100 * found.trials[-1].run.terms.percentile
    return f"{found.name}: {number(found.best_per_s)}/s hold p{claimed:g}, {fails}"


def of_search(search: Search, number_of: int) -> Section:
    """The highest rates that were found, with a curve for each."""
    void = bool(search.void)
    pictures = []
    for found in search.found:
        picture = latency_load.draw(
            f"{number_of:02}-search-{found.name}",
            latency_load.of_search(found),
            bound_ms=search.bounds_ms.get(found.name.split(" ")[0]),
            void=void,
        )
        if picture:
            picture.title = f"{picture.title}: {found.name}"
            pictures.append(picture)
    bounds = ", ".join(f"{task} {bound:g} ms" for task, bound in search.bounds_ms.items())
    terms = (
        f"{search.began}: p{100 * search.percentile:g} within {bounds}; confidence "
        f"{search.confidence:.0%}, trials of at least {search.duration_s:g} s, seed {search.seed}."
    )
    highest = [
        [
            found.name,
            "none" if found.best_per_s is None else number(found.best_per_s),
            "none" if found.fails_per_s is None else number(found.fails_per_s),
            str(len(found.trials)),
        ]
        for found in search.found
    ]
    return Section(
        title="Highest rates",
        about=terms,
        void=search.void,
        pictures=pictures,
        tables=[
            Table("Highest rates", ["", "holds per s", "fails per s", "trials"], highest),
            *map(_trials, search.found),
        ],
        figures={
            "bounds_ms": search.bounds_ms,
            "void": search.void,
            "found": [
                found.model_dump(include={"name", "best_per_s", "fails_per_s"})
                for found in search.found
            ],
        },
    )


def of_comparison(comparison: Comparison, number_of: int) -> Section:
    """What differs between two deployments, and what only seems to."""
    void, found = list(comparison.void), []
    try:
        found = differences(comparison)
    except ValueError as error:
        void.append(str(error))
    picture = changes.draw(f"{number_of:02}-comparison", found, void=bool(void))
    rows = [
        [
            f"{each.subject} {each.figure}",
            each.verdict,
            *map(number, (each.a, each.b)),
            f"{each.change:+.1%}",
            f"{each.low:+.1%} to {each.high:+.1%}",
            f"{each.chance:.4f}",
        ]
        for each in found
    ]
    sides = "; ".join(
        f"{name} {', '.join(server.addresses.values())}"
        for name, server in (("A", comparison.a), ("B", comparison.b))
    )
    left_out = len({block.pair for block in comparison.blocks if block.late})
    about = (
        f"{comparison.began}: {sides}; {comparison.pairs} pairs of blocks in random order, "
        f"{left_out} left out because the generator was late; {comparison.terms.scenario}, "
        f"{_terms(comparison.terms)}."
    )
    head = ["", "B is", "A", "B", "change", "interval", "chance"]
    return Section(
        title="A and B",
        about=about,
        void=void,
        pictures=[picture] if picture else [],
        tables=[Table("Differences", head, rows, text=2)],
        figures={"void": void, "differences": [each.model_dump() for each in found]},
        rows=[_no_worse(each) for each in found],
    )


def _no_worse(each: Difference) -> Row:
    return Row(
        subject=f"B against A {each.subject}",
        figure=each.figure,
        saw=f"{each.change:+.1%} ({each.low:+.1%} to {each.high:+.1%})",
        wanted="no worse",
        met="no" if each.verdict == "worse" else "yes",
        why=each.verdict,
    )


def section(result: Result, number_of: int) -> Section:
    """number_of: its place on the page, from 1; part of the names of its pictures."""
    match result:
        case Run():
            return of_run(result, number_of)
        case Search():
            return of_search(result, number_of)
        case Comparison():
            return of_comparison(result, number_of)


def headlines(results: Sequence[Result]) -> list[str]:
    """What the searches found, in a line each."""
    return [
        _answer(found) for result in results if isinstance(result, Search) for found in result.found
    ]
