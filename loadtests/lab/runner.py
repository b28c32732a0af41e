"""a plan → locust runs it, in this process or in several that a master leads → merged counts."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import gevent
from locust import User, runners, task
from locust.env import Environment
from locust.runners import STATE_MISSING

from loadtests.lab.load_user import Generating, Lab, environment_of
from loadtests.lab.plan import Plan
from loadtests.lab.samples import Counts

Progress = Callable[[Counts, float], None]
CONNECT_S = 120.0
"""How long generators may take to report to the master."""
POLL_S = 0.2
INTERRUPTED = "interrupted"

# A generator whose machine is busy for a few seconds is not lost.
runners.HEARTBEAT_LIVENESS = 15


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    counts: Counts
    stopped: tuple[str, ...] = ()
    """Why it ended before its time, or lost a generator; empty if it did not."""


@contextmanager
def _interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run in good order; the second the process."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.getsignal(each) for each in signals}

    def handle(_number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, before[each])
        stop()

    for each in signals:
        signal.signal(each, handle)
    try:
        yield
    finally:
        for each in signals:
            signal.signal(each, before[each])


def locally(plan: Plan, progress: Progress | None = None) -> Outcome:
    """Generate in this process."""
    lab = Lab(plan)
    environment = environment_of(lab, progress)
    runner = environment.create_local_runner()
    with _interruptible(lambda: lab.running.stop(INTERRUPTED)):
        runner.start(1, spawn_rate=1)
        while not lab.done:
            gevent.sleep(POLL_S)
    runner.quit()
    return Outcome(lab.counts, (lab.stopped,) if lab.stopped else ())


class Load(User):
    """Stands here for the generators' user of the same name, which the master only counts."""

    @task
    def generate(self) -> None: ...


class Master:
    """Leads several generators, wherever they run, and merges what they count."""

    def __init__(self, host: str, port: int) -> None:
        self.counts = Counts()
        self.ended: dict[str, str] = {}
        """Generators that have ended, and why before their time."""
        self.environment = Environment(user_classes=[Load])
        self.runner = self.environment.create_master_runner(host, port)
        self.port = int(self.runner.server.port)
        self.environment.events.worker_report.add_listener(self._reported)  # type: ignore[no-untyped-call]
        self.runner.register_message("ended", self._on_end)

    def _reported(self, *, data: dict[str, Any], **_: object) -> None:
        if "counts" in data:
            self.counts.merge(data["counts"])

    def _on_end(self, *, msg: Any, **_: object) -> None:
        self.counts.merge(msg.data["counts"])
        self.ended[msg.node_id] = msg.data["stopped"]

    def connected(self, expected: int) -> list[str]:
        """Wait for so many generators. Raises TimeoutError where they do not come."""
        ends_s = perf_counter() + CONNECT_S
        while len(self.runner.clients.ready) < expected:
            if perf_counter() > ends_s:
                came = len(self.runner.clients.ready)
                raise TimeoutError(f"{came} of {expected} generators came within {CONNECT_S:.0f} s")
            gevent.sleep(POLL_S)
        return [client.id for client in self.runner.clients.ready]

    def carry_out(self, plan: Plan, expected: int, progress: Progress | None) -> Outcome:
        """Give every generator its share, and wait until the last has ended or is lost."""
        ids = self.connected(expected)
        shared = plan.model_dump()
        for index, client_id in enumerate(ids):
            share = {"plan": shared, "index": index, "of": len(ids)}
            self.runner.send_message("share", share, client_id=client_id)
        with _interruptible(lambda: self.runner.send_message("halt", {"reason": INTERRUPTED})):
            self.runner.start(len(ids), spawn_rate=len(ids))
            began_s = perf_counter()
            while missing := self._missing(ids):
                gevent.sleep(POLL_S)
                if progress:
                    progress(self.counts, perf_counter() - began_s)
                if missing == self._lost(ids):
                    break
        stopped = [reason for reason in self.ended.values() if reason]
        stopped += [f"generator {each} was lost" for each in self._missing(ids)]
        return Outcome(self.counts, tuple(dict.fromkeys(stopped)))

    def _missing(self, ids: Sequence[str]) -> set[str]:
        return {each for each in ids if each not in self.ended}

    def _lost(self, ids: Sequence[str]) -> set[str]:
        """Those that will not report any more: their connection or their process has ended."""
        there = {each.id for each in self.runner.clients.all if each.state != STATE_MISSING}
        return self._missing(ids) - there


def leading(
    plan: Plan, generators: int, progress: Progress | None = None, *, listen: str = ""
) -> Outcome:
    """Generate in several processes: of this machine, or those that come to `listen`."""
    host, _, port = listen.rpartition(":")
    master = Master(host or "127.0.0.1", int(port or 0))
    command = [sys.executable, "-m", "loadtests", "generate", f"127.0.0.1:{master.port}"]
    own = [] if listen else [_started(command) for _ in range(generators)]
    try:
        return master.carry_out(plan, generators, progress)
    finally:
        master.runner.quit()
        for process in own:
            process.terminate()
            process.wait()


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches the master alone, which ends it in good order.
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def generate(master: str) -> None:
    """Be one generator of a master at host:port, until it says that all is over."""
    host, _, port = master.rpartition(":")
    environment = Environment(user_classes=[type("Load", (Generating,), {})])
    runner = environment.create_worker_runner(host, int(port))
    labs: list[Lab] = []

    def on_share(*, msg: Any, **_: object) -> None:
        lab = Lab(Plan.model_validate(msg.data["plan"]), index=msg.data["index"], of=msg.data["of"])
        labs.append(lab)
        environment.user_classes[0].lab = lab  # type: ignore[attr-defined]
        environment.events.request.add_listener(lab.on_request)  # type: ignore[no-untyped-call]

    def on_halt(*, msg: Any, **_: object) -> None:
        for lab in labs:
            lab.running.stop(msg.data["reason"])

    def report(*, data: dict[str, Any], **_: object) -> None:
        if labs and not labs[-1].done:
            data["counts"] = labs[-1].taken().dump()

    runner.register_message("share", on_share)
    runner.register_message("halt", on_halt)
    environment.events.report_to_master.add_listener(report)  # type: ignore[no-untyped-call]
    while not (labs and labs[-1].done):
        gevent.sleep(POLL_S)
    runner.send_message("ended", {"stopped": labs[-1].stopped, "counts": labs[-1].taken().dump()})
    runner.greenlet.join()
