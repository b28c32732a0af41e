"""a published model and its module → the record of its size, its training and its quality."""

from pathlib import Path

from torch import nn

from models import evaluate, own, sizes
from models.catalogue import Architecture
from models.systems import Quality, Size, System, Training
from service import manifest as manifests
from service.kinds import task_of
from service.manifest import Manifest
from service.settings import Settings
from service.tasks import task


def sized(folder: Path, of: Architecture, model: nn.Module) -> System:
    """What the folder, and the module that it was exported from, tell without being measured."""
    manifest = manifests.read(folder)
    kind = task_of(task(manifest.answers), manifest.graphs)
    assets = kind.load_assets(folder)
    request = kind.adapt(kind.example(), assets) if kind.adapt else kind.example()
    return System(
        name=manifest.name,
        task=manifest.answers,
        architecture=manifest.architecture,
        version=manifest.version,
        size=Size(
            parameters=sizes.parameters(model),
            flops=sizes.flops(kind, of.graphs(model), assets, request),
            file_bytes=sum((folder / name).stat().st_size for name in manifest.files),
            command=f"python -m models record {manifest.name}",
        ),
        training=_training(manifest, of),
    )


def _training(manifest: Manifest, of: Architecture) -> Training | None:
    """None for weights of elsewhere."""
    said = manifest.recipe
    names = [
        name
        for name, recipe in of.recipes.items()
        if (recipe.preset, recipe.dataset) == (said.get("preset"), said.get("dataset"))
    ]
    if not names or not isinstance(said["trained_steps"], int):
        return None
    core_s = said.get("core_s")
    return Training(
        steps=said["trained_steps"],
        core_s=core_s if isinstance(core_s, int) else None,
        data=manifest.data.source,
        command=f"python -m models train {names[0]} --data-dir DIR",
    )


def dataset_of(manifest: Manifest) -> str:
    """What a model is measured on: its own data set if the task has it, else the task's first."""
    known, learnt = evaluate.MEASURES[manifest.answers].datasets, manifest.recipe.get("dataset")
    return str(learnt) if learnt in known else known[0]


async def measured(
    folder: Path, *, data_dir: Path | None, split: str, data: Path | None
) -> list[Quality]:
    """The task's metric on a split of its data set in `data_dir`, or on `data` of one's own."""
    manifest = manifests.read(folder)
    of = task(manifest.answers)
    if data is not None:
        name, where = data.name, f"--data {data.name}"
        asked = own.examples(data, of, split, folder)
    else:
        assert data_dir is not None
        name, where = dataset_of(manifest), "--data-dir DIR"
        found = evaluate.examples(of, data_dir, split, name)
        asked = evaluate.answerable(of, folder, found)
    predict = await evaluate.from_folder(of, Settings(timeout_s=evaluate.PATIENT_S), folder)
    figures = await evaluate.measure(predict, of, asked)
    how = evaluate.MEASURES[of.name]
    return [
        Quality(
            metric=how.metric,
            data=name,
            group=group,
            value=value,
            higher_is_better=how.higher_is_better,
            command=f"python -m models record {manifest.name} {where} --split {split}",
        )
        for group, value in figures.items()
    ]
