"""records of systems → docs/comparison.md and its pictures: the systems of a task side by side."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

from models.systems import Quality, System

PAGE = Path("docs/comparison.md")
HEAD = """# Systems side by side

Written by `make comparison` from the records in [docs/systems](systems), each made by the commands
below its table. FLOPs are those of answering the task's example, all hypotheses and decoding steps
of a translation too. Training is the time of all cores together, and empty for weights of elsewhere
and for runs of before it was kept. Latency is that of one caller, throughput that of several who
wait for each answer.
"""
COLUMNS = (
    "system", "quality", "parameters, M", "GFLOPs", "training, core-h", "p50 / p90, ms",
    "answers/s", "folder, MB",
)  # fmt: skip


def _of_data(system: System) -> dict[tuple[str, str], list[Quality]]:
    """The figures of each metric on each data set."""
    found: dict[tuple[str, str], list[Quality]] = {}
    for figure in system.quality:
        found.setdefault((figure.metric, figure.data), []).append(figure)
    return found


def _quality(system: System) -> str:
    parts = []
    for (metric, data), figures in _of_data(system).items():
        values = ", ".join(f"{figure.group} {figure.value:.1f}" for figure in figures)
        parts.append(f"{metric} on {data}: {values}")
    return "; ".join(parts)


def row(system: System) -> list[str]:
    """The cells of a system; what was not recorded is empty."""
    size, training, serving = system.size, system.training, system.serving
    return [
        f"[{system.name}](systems/{system.name}.json) ({system.architecture})",
        _quality(system),
        f"{size.parameters / 1e6:.2f}" if size else "",
        f"{size.flops / 1e9:.3g}" if size else "",
        f"{training.core_s / 3_600:.2f}" if training and training.core_s else "",
        f"{serving.p50_ms:.1f} / {serving.p90_ms:.1f}" if serving else "",
        f"{serving.per_s:.1f} ({serving.users} callers)" if serving else "",
        f"{size.file_bytes / 1e6:.1f}" if size else "",
    ]


def commands(system: System) -> list[str]:
    """What made the figures. Measuring quality records the size as well."""
    size = () if system.quality else (system.size,)
    parts = (system.training, *system.quality, *size, system.serving)
    return list(dict.fromkeys(part.command for part in parts if part))


def panels(systems: Sequence[System]) -> Mapping[str, Mapping[str, float]]:
    """What is drawn → system → value, where it is known of any."""
    found: dict[str, dict[str, float]] = {}
    for system in systems:
        for (metric, data), figures in _of_data(system).items():
            title = f"{metric}, {data}"
            found.setdefault(title, {})[system.name] = fmean(figure.value for figure in figures)
    for system in systems:
        size, training, serving = system.size, system.training, system.serving
        known = {
            "parameters, M": size and size.parameters / 1e6,
            "GFLOPs of the example": size and size.flops / 1e9,
            "training, core-hours": training and training.core_s and training.core_s / 3_600,
            "latency, p50, ms": serving and serving.p50_ms,
            "throughput, answers/s": serving and serving.per_s,
        }
        for title, value in known.items():
            if value:
                found.setdefault(title, {})[system.name] = value
    return found


def draw(systems: Sequence[System], path: Path) -> None:
    """One panel of bars for each figure, a bar for each system that has it."""
    # Imported where it is needed: what imports large models has no memory to spare for it.
    from matplotlib.figure import Figure

    found = panels(systems)
    down = -(-len(found) // 2)
    height = 0.7 + 0.3 * len(systems)
    figure = Figure(figsize=(11, down * height), layout="constrained")
    places = figure.subplots(down, 2, squeeze=False).flat
    for (title, values), axes in zip(found.items(), places, strict=False):
        names = [system.name for system in systems]
        bars = axes.barh(names, [values.get(name, 0.0) for name in names], color="#4477aa")
        labels = [f"{values[name]:.4g}" if name in values else "" for name in names]
        axes.bar_label(bars, labels, fontsize=7, padding=2)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.margins(x=0.15)
        axes.invert_yaxis()
    for axes in places:
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def by_task(systems: Sequence[System]) -> Iterator[tuple[str, list[System]]]:
    """The systems of each task, which stand together."""
    for task, found in groupby(systems, key=lambda system: system.task):
        yield task, list(found)


def page(systems: Sequence[System]) -> str:
    """The text; pictures are in a folder of the page's name beside it."""
    parts = [HEAD]
    for task, found in by_task(systems):
        lines = [COLUMNS, ["---"] * len(COLUMNS), *map(row, found)]
        parts.append(f"## {task}\n")
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n")
        parts.append(f"![{task}]({PAGE.stem}/{task}.png)\n")
        said = [command for system in found for command in commands(system)]
        parts.append("```sh\n" + "\n".join(said) + "\n```\n")
        machines = {system.serving.machine for system in found if system.serving}
        parts.append("".join(f"Served by {machine}.\n" for machine in sorted(machines)))
    return "\n".join(filter(None, parts))


def write(systems: Sequence[System], path: Path = PAGE) -> None:
    """The page, and a picture for each task."""
    for task, found in by_task(systems):
        draw(found, path.with_suffix("") / f"{task}.png")
    path.write_text(page(systems), encoding="utf-8")
