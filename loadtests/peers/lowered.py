"""a torch module → Attendant's own model folders, one per variant that is raced."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from export.activations import observe
from export.calibrate import calibrate
from export.model import export_model
from export.precision import to_int8
from export.publish import seal
from export.source import Trained
from models.catalogue import Architecture
from service import manifest as manifests
from service.manifest import WEIGHTS, Data
from service.providers import installed
from service.session import Model, Runner, open_graph, read_weights

NO_DATA = Data(source="none", licence="none")
VARIANTS = {"cpu": ("float32", "int8"), "openvino": ("openvino-float32", "openvino")}
"""Target → its folders: as exported, and with what is smaller."""


def opened(folder: Path, *, threads: int) -> Model:
    """The graphs of a model folder, whatever it is of."""
    manifest, weights = manifests.read(folder), read_weights(folder / WEIGHTS)
    open_here = partial(open_graph, folder, weights=weights, threads=threads)
    sessions = {name: open_here(entry) for name, entry in manifest.graphs.items()}
    few = {name: (entry.rows, open_here(entry)) for name, entry in manifest.few.items()}
    return Model(folder.name, sessions, few)


def alone(of: Architecture, model: nn.Module) -> Trained:
    """A module as what is exported, without the files that serving it would need."""
    return Trained(of, model, assets=[], data=NO_DATA, recipe={})


def write(trained: Trained, folder: Path, *, answer: Callable[[Runner], object]) -> None:
    """Folders of the plain CPU and, if it is installed, of OpenVINO.

    The race states what int8 costs, so no gate is in its way; random weights would not pass one.
    `answer` answers inputs from which keys, values and activations get their range.
    """
    scales = None
    for target, (plain, smaller) in VARIANTS.items():
        if target == "openvino" and not installed("openvino"):
            continue
        export_model(trained, name="raced", target=target, folder=folder / plain)
        model = opened(folder / plain, threads=1)
        if scales is None:
            scales = calibrate(model, answer)
        products = observe(folder / plain, model, answer)
        shutil.rmtree(folder / smaller, ignore_errors=True)
        shutil.copytree(folder / plain, folder / smaller)
        manifest = manifests.read(folder / smaller)
        seal(folder / smaller, to_int8(folder / smaller, manifest, scales, products))
