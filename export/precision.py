"""published float32 folder → the same in another precision, if the task's metric allows it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from export.gate import GateError, compare
from export.publish import external, save_weights, seal
from export.quantize import quantize
from service import manifest as manifests
from service.manifest import WEIGHTS, GraphFile, Manifest
from service.providers import installed
from service.session import bound, read_weights


def change_precision(folder: Path, *, precision: str, data_dir: Path) -> Manifest:
    """Replace a model folder by its version in `precision`; raises `GateError`."""
    manifest = manifests.read(folder)
    candidate = folder.parent / f".{folder.name}.{precision}"
    shutil.rmtree(candidate, ignore_errors=True)
    shutil.copytree(folder, candidate)
    try:
        graphs = PRECISIONS[precision](candidate, manifest)
        manifest = seal(candidate, manifest.model_copy(update={"graphs": graphs}))
        quality = compare(manifest.name, data_dir, reference=folder, candidate=candidate)
        manifest = seal(candidate, manifest.model_copy(update={"quality": quality}))
        shutil.rmtree(folder)
        candidate.rename(folder)
    finally:
        shutil.rmtree(candidate, ignore_errors=True)
    return manifest


def _int8(folder: Path, manifest: Manifest) -> dict[str, GraphFile]:
    """Rewrite every graph, and the weights they share."""
    stored = read_weights(folder / WEIGHTS)
    weights: dict[str, NDArray[Any]] = {}
    graphs = {}
    for name, entry in manifest.graphs.items():
        proto = onnx.load(folder / entry.file, load_external_data=False)
        proto, taken = quantize(proto, bound(stored, entry.weights))
        onnx.save(proto, folder / entry.file)
        weights |= taken
        graphs[name] = entry.model_copy(update={"weights": external(proto)})
    save_weights(weights, folder / WEIGHTS)
    return graphs


def _bfloat16(manifest: Manifest) -> dict[str, GraphFile]:
    """Have the providers that can multiply in bfloat16 do so; the files stay as they are."""
    if not installed("openvino"):
        raise GateError("bfloat16 is measured on openvino, which is not installed here")
    if all(entry.provider != "openvino" for entry in manifest.graphs.values()):
        raise GateError(f"no graph of target {manifest.target} has bfloat16; openvino's have")
    return {
        name: entry.model_copy(update={"precision": "bfloat16"})
        if entry.provider == "openvino"
        else entry
        for name, entry in manifest.graphs.items()
    }


PRECISIONS: dict[str, Callable[[Path, Manifest], dict[str, GraphFile]]] = {
    "int8": _int8,
    "bfloat16": lambda folder, manifest: _bfloat16(manifest),
}
