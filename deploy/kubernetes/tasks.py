"""tasks → their parts of the overlays: what scales by what waits, and a Deployment of its own each.

`PYTHONPATH=. python deploy/kubernetes/tasks.py` writes them; a test compares them with the tasks. A
part is copied from that of translation, with the other task's name and the cost of its full batch.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from service.tasks import Task, task, tasks

OVERLAYS = Path(__file__).parent / "overlays"
MODEL = "translation"
PARTS = {
    "cpu/autoscaler.yaml": r"    - type: Pods\n(?:      .*\n)+",
    "gpu/autoscaler.yaml": r"    - type: prometheus\n(?:      .*\n)+",
    "kserve/inference-service.yaml": r"        - type: External\n(?:          .*\n)+",
    "tasks/kustomization.yaml": r"  - [a-z-]+\n",
    "tasks/ingress.yaml": r"          - path: /[a-z-]+\n(?:            .*\n)+"
    r"          - path: /v2/models/[a-z-]+\n(?:            .*\n)+",
}
"""File → what of it there is once for each task, one after another."""
OWN = ("autoscaler.yaml", "kustomization.yaml")
"""Files of a task's own folder."""


def as_of(text: str, other: Task) -> str:
    """What the files say of translation, for another task."""
    cost = f'"{task(MODEL).max_batch_cost}"'
    return text.replace(MODEL, other.name).replace(cost, f'"{other.max_batch_cost}"')


def written() -> Iterator[tuple[Path, str]]:
    """Every file and what should stand in it."""
    for name, pattern in PARTS.items():
        path = OVERLAYS / name
        text = path.read_text(encoding="utf-8")
        runs = re.finditer(f"(?:{pattern})+", text)
        there = max(runs, key=lambda run: run.end() - run.start())
        (of_model,) = [part for part in re.findall(pattern, there[0]) if MODEL in part]
        parts = "".join(as_of(of_model, each) for each in tasks())
        yield path, text[: there.start()] + parts + text[there.end() :]
    for each in tasks():
        for name in OWN:
            text = (OVERLAYS / "tasks" / MODEL / name).read_text(encoding="utf-8")
            yield OVERLAYS / "tasks" / each.name / name, as_of(text, each)


if __name__ == "__main__":
    for path, text in written():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
