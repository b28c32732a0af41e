"""`python -m loadtests.serving.fuzz`: 10,000 generated requests a door, none of which may hurt."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.door import Door
from loadtests.scenarios import WrongAnswer, scenarios
from loadtests.serving.attendant import STORE, Attendant, attendant, prepared
from loadtests.serving.calls import Caller, Kind
from loadtests.serving.fuzz.findings import Findings
from loadtests.serving.fuzz.http import by_fields, by_schema
from loadtests.serving.fuzz.rpc import by_messages
from loadtests.serving.fuzz.sockets import by_bytes
from loadtests.serving.fuzz.surfaces import by_sockets, by_streams, by_surfaces
from loadtests.serving.verdict import Row, conclude, judged
from service.tasks import Task, tasks

FAILURES = Path("build/serving/fuzz")
DOORS = (
    "schemathesis", "Hypothesis", "gRPC", "sockets", "other APIs", "streams", "live speech",
)  # fmt: skip
SETTINGS = {"ATTENDANT_TIMEOUT_S": "20"}
"""Some of what is generated is honest work for minutes."""


async def examples(server: Attendant, served: list[Task]) -> list[str]:
    """What is wrong with the answers to the tasks' own examples, on both doors."""
    faults = []
    async with Caller(server.url, server.grpc) as caller:
        for one in scenarios(served):
            for door in Door:
                reply = await caller.ask(door, one)
                try:
                    if reply.kind is not Kind.ANSWERED:
                        raise WrongAnswer(reply.detail)
                    one.check(reply.answer)
                except WrongAnswer as fault:
                    faults.append(f"{one.task} {door}: {fault}")
    return faults


def main(
    requests: Annotated[int, typer.Option(min=1, help="For each door.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same requests come again.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    bare: Annotated[bool, typer.Option("--bare", help="Without models from a package.")] = False,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Send generated requests to every door of a server of our own, and print what came of them."""
    console = Console()
    served = [task for task in tasks() if not only or task.name in only]
    console.print(f"seed {seed}, {requests} requests a door; failing ones are kept in {FAILURES}")
    rows: list[Row] = []
    with attendant(None if bare else prepared(store), SETTINGS) as server:
        before = {process.pid for process in server.workers()}
        schema, fields, calls, raw, others, streams, live = (
            Findings(name, FAILURES) for name in DOORS
        )
        todo: tuple[tuple[Findings, Callable[[], None]], ...] = (
            (schema, lambda: by_schema(server.url, requests // 2, schema, seed=seed)),
            (
                fields,
                lambda: by_fields(server.url, served, requests // 2, fields, seed=seed),
            ),
            (calls, lambda: by_messages(server.grpc, served, requests, calls, seed=seed)),
            (raw, lambda: by_bytes(server.url, scenarios(served), requests, raw, seed=seed)),
            (others, lambda: by_surfaces(server.url, served, requests, others, seed=seed)),
            (
                streams,
                lambda: by_streams(server.grpc, served, requests // 2, streams, seed=seed),
            ),
            (live, lambda: by_sockets(server.url, served, requests // 10, live, seed=seed)),
        )
        if not any(task.live for task in served):
            todo = todo[:-1]
        for findings, run in todo:
            with console.status(findings.door):
                run()
            rows.append(
                judged(
                    findings.door,
                    findings.summary(),
                    "no 5xx, no INTERNAL or UNKNOWN, no broken reply",
                    met=not findings.misses,
                )
            )
            for why in dict.fromkeys(findings.misses[:10]):
                console.print(f"{findings.door}: {why}", style="red", markup=False)
        faults = asyncio.run(examples(server, served))
        after = {process.pid for process in server.workers()}
        unhandled = server.unhandled()
        if unhandled:
            (FAILURES / "log.txt").parent.mkdir(parents=True, exist_ok=True)
            (FAILURES / "log.txt").write_bytes(server.log.read_bytes())
    right = "; ".join(faults) or f"{len(served)} tasks answered rightly on both doors"
    rows += [
        judged("examples afterwards", right, "all right", met=not faults),
        judged("workers", f"{len(before & after)} of {len(before)} live on", "no crash",
               met=bool(before) and before == after),
        judged("log", "; ".join(dict.fromkeys(unhandled)) or "nothing unhandled",
               "no error that nobody handled", met=not unhandled),
    ]  # fmt: skip
    terms = {"seed": seed, "requests a door": requests}
    conclude("fuzz", rows, terms, record=record)


if __name__ == "__main__":
    typer.run(main)
