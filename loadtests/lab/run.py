"""what to measure → a prepared server, load by locust, and one Run with all that was seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from loadtests.lab import goldens
from loadtests.lab.doors import Door, doors
from loadtests.lab.payloads import Payloads, payloads
from loadtests.lab.plan import Call, GiveUp, Load, Plan
from loadtests.lab.runner import Progress, leading, locally
from loadtests.lab.samples import Counts
from loadtests.lab.scenarios import Asked, scenario
from loadtests.lab.server import Watch, introduced
from loadtests.lab.soundness import reasons
from loadtests.peers.machine import machine
from loadtests.results import Phase, Run, Server, Terms
from service.tasks import Task, tasks


class NothingToMeasure(Exception):
    """A server has none of the tasks on the doors that were asked for."""


@dataclass(frozen=True)
class Target:
    """A server, and what is asked of it."""

    url: str
    grpc: str
    doors: tuple[str, ...] = ("REST", "gRPC")
    mix: Mapping[str, float] = field(default_factory=dict)
    """Task → weight; all tasks alike where it is empty."""
    payloads: str = "examples"
    goldens: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Prepared:
    """A server that answered, and the calls that it answers rightly."""

    target: Target
    server: Server
    calls: list[Call]
    weights: dict[str, float]
    payloads: Payloads
    wrong: tuple[str, ...] = ()
    """Examples whose first answer is already not the known one."""

    def only(self, *names: str) -> "Prepared":
        """Of the mix, these `task door` alone."""
        calls = [call for call in self.calls if call.name in names]
        return replace(self, calls=calls, weights={name: self.weights[name] for name in names})


def prepare(target: Target) -> Prepared:
    """Ask every call alone. Raises Unreachable, NoPayload, NothingToMeasure or ValueError."""
    known = doors()
    if unknown := set(target.doors) - set(known):
        raise ValueError(
            f"no such door: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    chosen = [task for task in tasks() if not target.mix or task.name in target.mix]
    if missing := set(target.mix) - {task.name for task in chosen}:
        raise ValueError(f"no such task: {', '.join(sorted(missing))}")
    addresses = {
        name: target.url if known[name].transport == "http" else target.grpc
        for name in target.doors
    }
    server = introduced(target.url, addresses)
    source = payloads(target.payloads, chosen)
    calls = [call for name in target.doors for call in encoded(known[name], chosen, source)]
    for name in target.doors:
        if not any(call.door == name for call in calls):
            server.absent[name] = "this door has no form for any of the tasks"
    answered, absent = goldens.asked_alone(calls, addresses)
    server.absent.update(absent)
    if not answered:
        told = "; ".join(f"{name}: {why}" for name, why in server.absent.items())
        raise NothingToMeasure(f"{target.url} answers nothing that was asked for. {told}")
    expected = {task.name: task.expected for task in chosen}
    wrong = [
        call for call in answered if source.known and not goldens.holds(call, expected[call.task])
    ]
    if target.goldens:
        answered = goldens.from_file(target.goldens, answered)
    names = dict.fromkeys(call.name for call in answered)
    of_task = {
        task.name: sum(name.startswith(f"{task.name} ") for name in names) for task in chosen
    }
    weights = {
        name: target.mix.get(name.rpartition(" ")[0], 1.0) / of_task[name.rpartition(" ")[0]]
        for name in names
    }
    differing = (
        f"{call.name}: {expected[call.task]!r} is not in {call.golden}"[:300] for call in wrong
    )
    return Prepared(target, server, answered, weights, source, tuple(differing))


def encoded(door: Door, chosen: Sequence[Task], source: Payloads) -> Iterator[Call]:
    """Every payload as the door takes it; a task that it has no form for has no calls there."""
    for task in chosen:
        for number, request in source.requests.get(task.name, ()):
            made = door.encode(task, request)
            if made is not None:
                yield Call(
                    task=task.name, door=door.name, payload=number, target=made.target,
                    body=made.body, headers=made.headers,
                )  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a run is generated."""

    scenario: str = "server"
    duration_s: float = 60.0
    rate_per_s: float = 10.0
    users: int = 8
    samples: int = 8
    generators: int = 1
    listen: str = ""
    """host:port at which generators of other machines are waited for."""
    percentile: float | None = None
    """The one to claim; the scenario's own unless given."""
    together: bool = False
    """The percentile is claimed of the mix, not of each task and door in it."""
    give_up: GiveUp | None = None


def measure(prepared: Prepared, way: Way, progress: Progress | None = None) -> Run:
    """Put the load on. What goes wrong meanwhile is in the Run's `void`."""
    chosen = scenario(way.scenario)
    moments = prepared.payloads.moments_s
    asked = Asked(way.duration_s, way.rate_per_s, way.users, way.samples, moments)
    loads = chosen.loads(asked)
    target = prepared.target
    plan = Plan(
        addresses=prepared.server.addresses, calls=prepared.calls, weights=prepared.weights,
        loads=loads, seed=target.seed, give_up=way.give_up,
    )  # fmt: skip
    began = datetime.now(UTC).isoformat(timespec="seconds")
    with Watch(target.url) as watch:
        if way.generators == 1 and not way.listen:
            outcome = locally(plan, progress)
        else:
            outcome = leading(plan, way.generators, progress, listen=way.listen)
    run = Run(
        began=began,
        terms=Terms(
            scenario=way.scenario,
            arguments={name: float(getattr(way, name)) for name in chosen.arguments},
            mix=prepared.weights,
            payloads=prepared.payloads.described,
            goldens=target.goldens.name if target.goldens else "first answer",
            seed=target.seed,
            duration_s=way.duration_s,
            percentile=way.percentile or chosen.percentile,
            workers=way.generators,
        ),
        machine=machine(),
        server=prepared.server,
        phases=phases(loads, outcome.counts),
        timeline=outcome.counts.timeline(),
        samples=watch.samples,
        batches=watch.batches,
        send_lag=outcome.counts.lag,
    )
    run.void = [*prepared.wrong, *reasons(run, outcome.stopped, together=way.together)]
    return run


def phases(loads: Sequence[Load], counts: Counts) -> list[Phase]:
    """Those that were reached; a phase ends with its last answer."""
    found, began_s = [], 0.0
    for number, load in enumerate(loads):
        cells = [cell for (phase, _, _), cell in counts.cells.items() if phase == number]
        if not cells:
            break
        ended_s = counts.ended_s[number]
        took_s = max(ended_s - began_s, 1e-9)
        phase = Phase(
            name=load.name, began_s=began_s, duration_s=took_s, rate_per_s=load.rate_per_s,
            users=load.users, cells=cells,
        )  # fmt: skip
        found.append(phase)
        began_s = began_s + load.duration_s if load.users is None else ended_s
    return found
