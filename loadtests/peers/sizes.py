"""shipped models → how large their weights are on disk, beside the same weights in float32."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from loadtests.peers.record import Size
from service import store
from service.int8 import SCALE
from service.manifest import WEIGHTS

FLOAT32_BYTES = 4


def size(file: Path) -> Size:
    """A weights file; scales are there for int8 only and do not count as weights."""
    with safe_open(file, framework="np") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in _weights(weights.keys())]
    elements = sum(int(np.prod(shape)) for shape in shapes)
    return Size(on_disk_bytes=file.stat().st_size, float32_bytes=FLOAT32_BYTES * elements)


def _weights(names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(SCALE)]


def shipped_sizes() -> Mapping[str, Size]:
    """By model; those whose weights come with a package are measured in the store, if there."""
    found = {}
    for name, folder in store.shipped().items():
        places = [each / WEIGHTS for each in (folder, store.locate(name)) if each is not None]
        file = next((each for each in places if each.exists()), None)
        if file is not None:
            found[name] = size(file)
    return found
