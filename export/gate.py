"""changed model against the one it was made from → the task's metric of both, or a refusal."""

import asyncio
from pathlib import Path

from export.refusal import Refusal
from models import evaluate
from service.manifest import Quality
from service.settings import Settings
from service.tasks import task as task_of

LARGEST_LOSS = 0.3
"""Points of BLEU, accuracy or word error rate that a faster model may lose."""
SPLITS = {"automatic-speech-recognition": "test"}
"""What is measured where a data set has no dev split."""


class GateError(Refusal):
    """The changed model is worse than it may be."""


def compare(name: str, data_dir: Path, *, reference: Path, candidate: Path) -> dict[str, Quality]:
    """Measure both model folders on the task's dev split; raises `GateError`."""
    reached = asyncio.run(_measured(name, data_dir, candidate))
    wanted = asyncio.run(_measured(name, data_dir, reference))
    sign = 1 if evaluate.MEASURES[name].higher_is_better else -1
    found = {
        group: Quality(reference=wanted[group], reached=value) for group, value in reached.items()
    }
    for group, quality in found.items():
        lost = round(sign * (quality.reference - quality.reached), 2)
        if not lost <= LARGEST_LOSS:
            raise GateError(
                f"{name}, {group}: {evaluate.MEASURES[name].metric} {quality.reached:.2f} instead "
                f"of {quality.reference:.2f}; {LARGEST_LOSS} points may be lost, so "
                "serve it in the precision before"
            )
    return found


async def _measured(name: str, data_dir: Path, folder: Path) -> dict[str, float]:
    task = task_of(name)
    predict = await evaluate.from_folder(task, Settings(timeout_s=evaluate.PATIENT_S), folder)
    examples = evaluate.examples(task, data_dir, SPLITS.get(name, "dev"))
    return await evaluate.measure(predict, task, examples)
