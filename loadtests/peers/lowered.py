"""a torch module → Attendant's own model folders, one per variant that is raced."""

import shutil
from pathlib import Path

from torch import nn

from export.model import export_model
from export.precision import PRECISIONS
from export.publish import seal
from export.source import Trained
from models.catalogue import Architecture
from service import manifest as manifests
from service.manifest import Data
from service.providers import installed

NO_DATA = Data(source="none", licence="none")


def write(of: Architecture, model: nn.Module, folder: Path, *, targets: tuple[str, ...]) -> None:
    """`folder`/float32 and int8 for the plain CPU; bfloat16 for OpenVINO, if it is installed.

    The race states what int8 costs, so no gate is in its way; random weights would not pass one.
    """
    trained = Trained(of, model, assets=[], data=NO_DATA, recipe={})
    for target in targets:
        if target == "openvino" and not installed("openvino"):
            continue
        plain = folder / ("float32" if target == "cpu" else target)
        export_model(trained, name="raced", target=target, folder=plain)
        precision = {"cpu": "int8", "openvino": "bfloat16"}[target]
        changed = folder / precision
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(plain, changed)
        manifest = manifests.read(changed)
        graphs = PRECISIONS[precision](changed, manifest)
        seal(changed, manifest.model_copy(update={"graphs": graphs}))
