"""recorded races → `docs/benchmarks.md`, and a table for the terminal."""

from collections.abc import Mapping, Sequence
from statistics import geometric_mean

from rich.table import Table

from loadtests.peers.asked import EACH, SIZE, Seen, seen
from loadtests.peers.record import Benchmarks, Raced, Size, WorkRecord

OURS = "Attendant"
HEAD = """# Benchmarks

Written by `make bench-engines` from [benchmarks.json](benchmarks.json); not edited by hand.

Every engine has the same weights and the same inputs, and its own best settings. Peers take turns:
in each round of each batch size every one runs once, in a new order, while the others sleep.
Figures are medians over the rounds, with the least and the greatest; `x` is how many times as fast
as the fastest peer that is not Attendant. Ratios are worth more than figures, which drift with the
machine. Agreement is with our torch module in float32.
"""


def rival(work: WorkRecord) -> dict[int, float]:
    """Size → the seconds of the fastest peer that is not Attendant."""
    others = [peer for name, peer in work.raced().items() if not name.startswith(OURS)]
    if not others:
        return {}
    return {size: min(peer.median_s(size) for peer in others) for size in work.sizes}


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(work: WorkRecord, peer: Raced, size: int) -> str:
    """`1,180 (1,150-1,210)`."""
    figures = sorted(work.figure(seconds, size) for seconds in peer.seconds[size])
    middle = work.figure(peer.median_s(size), size)
    return f"{number(middle)} ({number(figures[0])}–{number(figures[-1])})"


def rows(work: WorkRecord) -> list[list[str]]:
    """Peers from the fastest to the slowest, then those that were not raced."""
    best = rival(work)

    def speed(peer: Raced) -> float:
        return geometric_mean([peer.median_s(size) for size in work.sizes])

    out = []
    for name, peer in sorted(work.raced().items(), key=lambda item: speed(item[1])):
        times = [best[size] / peer.median_s(size) for size in best]
        cells = [cell(work, peer, size) for size in work.sizes]
        for index, ratio in enumerate(times):
            cells[index] += f" {ratio:.2f}x"
        mean = f"{geometric_mean(times):.2f}x" if times else ""
        quality = "; ".join(f"{value:g} {what}" for what, value in peer.quality.items())
        out.append([name, *cells, mean, quality])
    for name, peer in work.peers.items():
        if peer.status != "raced":
            reason = f"{peer.status}: {peer.reason.splitlines()[0] if peer.reason else ''}"
            out.append([name, *("–" for _ in work.sizes), "", reason])
    return out


def header(work: WorkRecord) -> list[str]:
    return ["peer", *(f"batch {size}" for size in work.sizes), "mean", "quality"]


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    escaped = ([text.replace("|", "\\|") for text in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def asked_row(row: Seen) -> list[str]:
    asked = row.asked
    over = asked.over
    if asked.sizes:
        over = f"batch {', '.join(map(str, asked.sizes))}"
    at = f" at batch {min(row.ratios, key=lambda size: row.ratios[size])}"
    least = at if over == EACH else ""
    best = "best of " if len(row.against) > 1 else ""
    against = f"{best}{', '.join(row.against)}"
    ratio = f"{row.ratio:.2f}x{least}{'' if row.reached else ' **not reached**'}"
    return [row.work, row.ours, against, over, f"{asked.at_least:g}x", ratio]


def size_row(name: str, size: Size) -> list[str]:
    share = size.on_disk_bytes / size.float32_bytes
    cells = [f"{each / 1e6:.1f}" for each in (size.on_disk_bytes, size.float32_bytes)]
    return [
        name,
        *cells,
        f"{SIZE:g}x",
        f"{share:.2f}x{'' if share <= SIZE else ' **not reached**'}",
    ]


def sizes(found: Mapping[str, Size]) -> str:
    """Every shipped model, and all of them together."""
    whole = Size(
        on_disk_bytes=sum(each.on_disk_bytes for each in found.values()),
        float32_bytes=sum(each.float32_bytes for each in found.values()),
    )
    head = ["weights of", "on disk, MB", "in float32, MB", "asked", "seen"]
    body = [size_row(name, each) for name, each in {**found, "all together": whole}.items()]
    return f"## Size of the shipped models\n\n{markdown(head, body)}"


def section(name: str, work: WorkRecord) -> str:
    where = work.machine
    raced = work.raced().items()
    settings = [
        [
            peer,
            ", ".join(f"{key} {value}" for key, value in record.versions.items()),
            ", ".join(f"{key}={value}" for key, value in record.settings.items()),
        ]
        for peer, record in raced
    ]
    best = "less is better" if work.per_batch is None else "more is better"
    parts = [
        f"## {name}",
        f"{work.about[0].upper()}{work.about[1:]}. In {work.unit}, {best}.",
        f"{where.cpu}, {where.cores} cores ({', '.join(where.flags)}), {where.memory_gib} GiB, "
        f"{where.system}; every peer has {work.threads} threads; {work.rounds} rounds, "
        f"{work.date}.",
        markdown(header(work), rows(work)),
        f"![{name}](benchmarks/{name}.png)",
        "<details><summary>Versions and settings</summary>\n",
        markdown(["peer", "versions", "settings"], settings),
        "\n</details>",
    ]
    return "\n\n".join(parts)


def page(benchmarks: Benchmarks) -> str:
    """All works, and before them what was asked beside what was seen."""
    head = ["work", "Attendant", "against", "over", "asked", "seen"]
    table = markdown(head, [asked_row(row) for row in seen(benchmarks)])
    sections = [sizes(benchmarks.sizes)] if benchmarks.sizes else []
    sections += [section(name, work) for name, work in benchmarks.works.items()]
    return "\n\n".join([HEAD.rstrip(), f"## Asked and seen\n\n{table}", *sections]) + "\n"


def table(name: str, work: WorkRecord) -> Table:
    view = Table(*header(work), title=f"{name}, {work.unit}")
    for row in rows(work):
        view.add_row(*row)
    return view
