"""published float32 folder → the same in another precision, if the task's metric allows it."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export import static_int8
from export.activations import observe
from export.calibrate import calibrate
from export.few_rows import MOST_ROWS, for_few_rows
from export.gate import GateError, compare, examples
from export.int8_caches import Scales, hand_over_int8, step_over_int8
from export.publish import external, save_weights, seal
from export.quantize import loops, quantize
from export.static_int8 import Ranges
from service import manifest as manifests
from service.manifest import WEIGHTS, FewRows, GraphFile, Manifest
from service.providers import installed
from service.session import Runner, bound, read_weights
from service.speech.assets import FOLDED
from service.store import open_model
from service.tasks import task as task_of

WHOLE = {"whisper": ("encoder", "folded", "decoder", "alignment")}
"""Graphs whose matrices stay in floats. Rounding only those of Whisper's encoder cost 0.8 points of
word error rate, those of its decoder and its keys and values 0.8, and the latter alone nothing."""
OVER_INT8 = {"encoder": hand_over_int8, "folded": hand_over_int8, "decoder": step_over_int8}
"""Graphs that keys and values pass between."""
SAMPLES = 200
"""Requests of the dev split from which the range of keys and values is taken."""
BATCH = 8


def change_precision(folder: Path, *, precision: str, data_dir: Path) -> Manifest:
    """Replace a model folder by its version in `precision`; raises `GateError`."""
    manifest = manifests.read(folder)
    candidate = folder.parent / f".{folder.name}.{precision}"
    shutil.rmtree(candidate, ignore_errors=True)
    try:
        shutil.copytree(folder, candidate)
        manifest = seal(candidate, PRECISIONS[precision](candidate, manifest, data_dir))
        try:
            quality = compare(manifest.answers, data_dir, reference=folder, candidate=candidate)
        except GateError:
            if FOLDED not in manifest.graphs:
                raise
            # Precision and folding may cost too much only together.
            manifest = without(candidate, manifest, FOLDED)
            quality = compare(manifest.answers, data_dir, reference=folder, candidate=candidate)
        manifest = seal(candidate, manifest.model_copy(update={"quality": quality}))
        shutil.rmtree(folder)
        candidate.rename(folder)
    finally:
        shutil.rmtree(candidate, ignore_errors=True)
    return manifest


def without(folder: Path, manifest: Manifest, graph: str) -> Manifest:
    """Take a graph that a model may lack out of its folder."""
    (folder / manifest.graphs[graph].file).unlink()
    graphs = {name: entry for name, entry in manifest.graphs.items() if name != graph}
    return seal(folder, manifest.model_copy(update={"graphs": graphs}))


def ranges(folder: Path, data_dir: Path) -> tuple[Scales, Ranges]:
    """Scales for int8 of the keys and values that a fused decoding step reads, maybe none, and what
    the matrices of OpenVINO's graphs multiply."""
    manifest = manifests.read(folder)
    task = task_of(manifest.answers)
    step = manifest.parity.graphs.get("decoder")
    caches = step is not None and "GroupQueryAttention" in step.attention_ops
    if not caches and all(entry.provider != "openvino" for entry in manifest.graphs.values()):
        return {}, {}
    model, _ = open_model(folder, task, threads=os.cpu_count() or 1)
    found = examples(task.name, data_dir, folder)
    # Taken evenly, as splits are in order of language or speaker.
    places = np.linspace(0, len(found) - 1, min(SAMPLES, len(found))).astype(int)
    assets = task.load_assets(folder)
    items = [item for at in places for item in task.preprocess(found[at].request, assets)]
    scales: dict[str, NDArray[np.float32]] = {}

    def answer(runner: Runner) -> None:
        for start in range(0, len(items), BATCH):
            task.forward(runner, assets, items[start : start + BATCH])

    def watched(runner: Runner) -> None:
        if caches:
            scales.update(calibrate(runner, answer))
        else:
            answer(runner)

    return scales, observe(folder, model, watched)


def to_int8(
    folder: Path,
    manifest: Manifest,
    scales: Scales,
    products: Ranges,
    *,
    whole: Sequence[str] = (),
) -> Manifest:
    """Rewrite the graphs and the weights they share: keys and values too, where there are any.

    What graphs of OpenVINO do not multiply in int8, they do in bfloat16. Those of the plain CPU
    that are named in `whole`, and any that loop, keep their matrices, but hand on keys and values
    in int8.
    """
    stored = read_weights(folder / WEIGHTS)
    weights: dict[str, NDArray[Any]] = {}
    graphs, few = {}, {}
    for name, entry in manifest.graphs.items():
        proto = onnx.load(folder / entry.file, load_external_data=False)
        taken = bound(stored, entry.weights)
        if scales and name in OVER_INT8:
            proto = OVER_INT8[name](proto, scales)
        if entry.provider == "openvino" and not loops(proto):
            proto, taken = static_int8.quantize(proto, taken, products)
        elif entry.provider == "cpu" and name not in whole and not loops(proto):
            small = for_few_rows(proto, taken) if name == "decoder" else None
            proto, taken = quantize(proto, taken)
            if small is not None:
                file = f"{name}.few.onnx"
                onnx.save(small, folder / file)
                few[name] = FewRows(file=file, weights=external(small), rows=MOST_ROWS)
        onnx.save(proto, folder / entry.file)
        weights |= taken
        changed = {"weights": external(proto), "precision": HERE[entry.provider]}
        graphs[name] = entry.model_copy(update=changed)
    save_weights(weights, folder / WEIGHTS)
    cache_dtype = "int8" if scales else manifest.cache_dtype
    changes = {"graphs": graphs, "few": few, "cache_dtype": cache_dtype}
    return manifest.model_copy(update=changes)


HERE = {"cpu": "float32", "openvino": "bfloat16"}
"""In what floating point an int8 model computes what is not int8."""


def _bfloat16(manifest: Manifest) -> Manifest:
    """Have the providers that can multiply in bfloat16 do so; the files stay as they are."""
    if not installed("openvino"):
        raise GateError("bfloat16 is measured on openvino, which is not installed here")
    if all(entry.provider != "openvino" for entry in manifest.graphs.values()):
        raise GateError(f"no graph of target {manifest.target} has bfloat16; openvino's have")
    graphs: Mapping[str, GraphFile] = {
        name: entry.model_copy(update={"precision": "bfloat16"})
        if entry.provider == "openvino"
        else entry
        for name, entry in manifest.graphs.items()
    }
    return manifest.model_copy(update={"graphs": graphs})


def _int8(folder: Path, manifest: Manifest, data_dir: Path) -> Manifest:
    contract = task_of(manifest.answers).contract
    looping = [
        name
        for name, entry in manifest.graphs.items()
        if not contract[name].aside
        and loops(onnx.load(folder / entry.file, load_external_data=False))
    ]
    if looping:
        raise GateError(
            f"{', '.join(looping)}: what a loop multiplies with stays in floats, so leave "
            "--precision out"
        )
    scales, products = ranges(folder, data_dir)
    return to_int8(folder, manifest, scales, products, whole=WHOLE.get(manifest.architecture, ()))


PRECISIONS: dict[str, Callable[[Path, Manifest, Path], Manifest]] = {
    "int8": _int8,
    "bfloat16": lambda folder, manifest, data_dir: _bfloat16(manifest),
}
