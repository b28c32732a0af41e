"""a published model folder → the folder of another version of it, whose answers differ."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from service import manifest as manifests


def another_version(folder: Path, into: Path) -> Path:
    """A copy with every matrix turned upside down."""
    shutil.copytree(folder, into)
    weights = load_file(into / manifests.WEIGHTS)
    turned = {
        name: np.ascontiguousarray(array[::-1]) if array.ndim == 2 else array
        for name, array in weights.items()
    }
    save_file(turned, into / manifests.WEIGHTS)
    manifest = json.loads((into / manifests.NAME).read_text())
    manifest["files"][manifests.WEIGHTS] = manifests.sha256(into / manifests.WEIGHTS)
    (into / manifests.NAME).write_text(json.dumps(manifest))
    return into
