"""addresses of a running service → a table of every task on every door; exits 1 over a budget."""

import locust  # noqa: F401, I001  (first: it patches the standard library for what follows)

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import requests
import typer
from rich.console import Console

from loadtests.budgets import Door, budget_of, excesses
from loadtests.report import table
from loadtests.run import run
from loadtests.scenarios import scenarios
from service.tasks import tasks


def states(host: str) -> dict[str, str]:
    """What the service says of each task: `ready`, or why it is not served."""
    try:
        return dict(requests.get(f"{host}/status", timeout=10).json()["tasks"])
    except requests.RequestException as error:
        raise typer.BadParameter(f"{host}/status tells nothing: {error}") from error


def main(
    host: Annotated[str, typer.Option(help="REST door.")] = "http://127.0.0.1:3000",
    grpc: Annotated[str, typer.Option(help="gRPC door.")] = "127.0.0.1:50051",
    door: Annotated[list[Door] | None, typer.Option(help="Only this door.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this task.")] = None,
    users: Annotated[int, typer.Option(min=1, help="Callers of a door.")] = 4,
    duration_s: Annotated[float, typer.Option(min=1, help="For each door.")] = 20.0,
    rate_per_s: Annotated[
        float | None, typer.Option(help="Arrivals, whether or not a caller is free.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
) -> None:
    """Ask every task on every door, print what was measured, exit 1 if a budget was exceeded."""
    chosen = [task for task in tasks() if not only or task.name in only]
    told = states(host)
    served = [task for task in chosen if told.get(task.name) == "ready"]
    addresses = {Door.REST: host, Door.GRPC: grpc}
    doors = door or list(Door)
    console = Console()
    if not served:
        console.print(f"none of the tasks asked for is ready: {told}")
        raise typer.Exit(1)
    recorders = {
        one: run(
            scenarios(served),
            one,
            addresses[one],
            users=users,
            duration_s=duration_s,
            rate_per_s=rate_per_s,
        )
        for one in doors
    }
    rows = [recorders[one].figures(task.name, one) for task in chosen for one in doors]
    over: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        # With given arrivals the requests per second are no merit of the service.
        budget = budget_of(row.task)
        if rate_per_s:
            budget = replace(budget, requests_per_s=0.0)
        state = told.get(row.task, "unknown to the service")
        served_well = excesses(row, budget)
        over[row.task, row.door] = served_well if state == "ready" else [f"not served: {state}"]
    console.print(table(rows, over))
    for (task, one), faults in over.items():
        for fault in faults:
            console.print(f"over budget: {task} {one}: {fault}", style="red", markup=False)
    if out:
        out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    raise typer.Exit(int(any(over.values())))


if __name__ == "__main__":
    typer.run(main)
