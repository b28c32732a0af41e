"""changed model against the one it was made from → the task's metric of both, or a refusal."""

import asyncio
from pathlib import Path

from export.refusal import Refusal
from models import evaluate, own
from models.datasets import Example
from models.survey import digest
from service import manifest as manifests
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


def examples(name: str, data_dir: Path, folder: Path) -> list[Example]:
    """The split that decides: of a data set of the task, or of what a model was fine-tuned on.

    Of a data set, what the model can be asked; it is the one that the model was trained on, if the
    task is measured on that. Raises `GateError` if that is nothing, or if `data_dir` is not what a
    model was fine-tuned on.
    """
    task, manifest = task_of(name), manifests.read(folder)
    of, trained_on = manifest.fine_tuned, str(manifest.recipe.get("dataset", ""))
    if of is None:
        dataset = trained_on if trained_on in evaluate.MEASURES[name].datasets else ""
        split = evaluate.examples(task, data_dir, SPLITS.get(name, "dev"), dataset)
        found = evaluate.answerable(task, folder, split)
        if not found:
            raise GateError(f"{name} knows none of the languages of the data, so nothing decides")
        return found
    if data_dir.name != of.data or digest(own.entries(data_dir, task)) != of.data_sha256:
        raise GateError(
            f"{name} was fine-tuned on {of.data}, and {data_dir} is not that: name it with "
            "--data-dir, so that its dev split decides"
        )
    return own.examples(data_dir, task, "dev", folder)


async def _measured(name: str, data_dir: Path, folder: Path) -> dict[str, float]:
    task = task_of(name)
    predict = await evaluate.from_folder(task, Settings(timeout_s=evaluate.PATIENT_S), folder)
    return await evaluate.measure(predict, task, examples(name, data_dir, folder))
