"""recorded comparison → `docs/peers.md`, and a table for the terminal."""

from rich.box import SIMPLE
from rich.table import Table

from loadtests.peers.report import markdown, number
from loadtests.serving.compare.peers import ATTENDANT
from loadtests.serving.compare.record import Comparison, Figures, TaskRecord

HEAD = """# Attendant beside other servers

Written by `make bench-peers` from [peers.json](peers.json); not edited by hand.

Every server answers the same requests with the same weights on the same cores, alone on the
machine but for the caller: started, warmed, measured and stopped, one after
another. For classification and translation they also run the same ONNX files in the same ONNX
Runtime with the same reading of requests, so that what differs is the server; a decoding loop is
what its user would write, over a whole batch until its last sentence has ended. `closed` is what
callers get who ask again at once; `open` is the highest rate of Poisson arrivals at which the
percentile keeps the bound, counted from when a request was due, and `fails at` the lowest tried
at which it does not; `x` is how many times as much Attendant does. An answer that is not the one
given alone counts as none, except for speech, where rounding in another company may change a word.

![Requests per second](peers.png)
"""


def _times(ours: float | None, theirs: float | None) -> str:
    """How many times as much ours is; nothing where either is missing."""
    return f" {ours / theirs:.2f}x" if ours and theirs else ""


def rows(task: TaskRecord) -> list[list[str]]:
    """The fastest first, then those that were not measured, with the reason."""
    measured = task.measured()
    ours = measured.get(ATTENDANT.name)
    found = []

    def order(name: str) -> tuple[float, float]:
        return -(measured[name].open_per_s or 0), -measured[name].closed_per_s

    for name in sorted(measured, key=order):
        each = measured[name]
        most_closed = ours.closed_per_s if ours and each is not ours else None
        most_open = ours.open_per_s if ours and each is not ours else None
        found.append(
            [
                name,
                number(each.closed_per_s) + _times(most_closed, each.closed_per_s),
                _open(each) + _times(most_open, each.open_per_s),
                "–" if each.fails_per_s is None else number(each.fails_per_s),
                f"{each.p50_ms:.0f}" if each.p50_ms is not None else "–",
                f"{each.p99_ms:.0f}" if each.p99_ms is not None else "–",
                f"{each.same_ratio:.0%}",
                task.peers[name].about,
            ]
        )
    for name, peer in task.peers.items():
        if peer.figures is None:
            why = f"{peer.status}: {peer.reason.splitlines()[0] if peer.reason else ''}"
            found.append([name, *("–" for _ in range(6)), why])
    return found


def _open(figures: Figures) -> str:
    if figures.open_per_s is None:
        return "none" if figures.trials else "not tried"
    return number(figures.open_per_s)


def header(task: TaskRecord) -> list[str]:
    terms = task.terms
    return [
        "server",
        f"closed({terms.callers}), requests/s",
        f"open, p{terms.percentile * 100:g} under {terms.bound_ms:.0f} ms, requests/s",
        "fails at",
        "p50, ms",
        "p99, ms",
        "answers as Attendant's",
        "how",
    ]


def section(name: str, task: TaskRecord) -> str:
    where, terms = task.machine, task.terms
    versions = [
        [peer, ", ".join(f"{package} {each}" for package, each in of.versions.items())]
        for peer, of in task.peers.items()
        if of.versions
    ]
    parts = [
        f"## {name}",
        markdown(header(task), rows(task)),
        f"{where.cpu}, {where.cores} cores ({', '.join(where.flags)}), {where.memory_gib} GiB, "
        f"{where.system}; every server has {terms.threads} threads; {terms.requests} known "
        f"requests; rates of at least {terms.duration_s:g} s, found within a factor of "
        f"{terms.precision:g} unless the time for the server ended before; seed {terms.seed}; "
        f"{task.date}.",
        "<details><summary>Versions</summary>\n",
        markdown(["server", "versions"], versions),
        "\n</details>",
    ]
    return "\n\n".join(parts)


def page(comparison: Comparison) -> str:
    sections = [section(name, task) for name, task in comparison.tasks.items()]
    return "\n\n".join([HEAD.rstrip(), *sections]) + "\n"


def table(name: str, task: TaskRecord) -> Table:
    view = Table(*header(task), title=name, box=SIMPLE, padding=(0, 1))
    for row in rows(task):
        view.add_row(*row, style="yellow" if row[1] == "–" else "")
    return view
