"""nothing → a folder with garments as Fashion-MNIST has them: plain shapes, told apart at once."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets import fashion_mnist

SHAPES = 10


def drawn(label: int) -> NDArray[np.uint8]:
    """A grey rectangle whose breadth tells the class, in the middle of an empty picture."""
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 12 - label : 16 + label] = 200
    return image


def _write(path: Path, header: bytes, content: bytes) -> None:
    with gzip.open(path, "wb") as file:
        file.write(header + content)


def write_garments(data_dir: Path, *, rounds: int = 502) -> None:
    """Files of `rounds` shapes of each class for train and dev, and of two rounds for test."""
    folder = data_dir / fashion_mnist.PATH
    folder.mkdir(parents=True)
    for part, count in (("train", rounds * SHAPES), ("t10k", 2 * SHAPES)):
        labels = np.arange(count) % SHAPES
        images = np.stack([drawn(label) for label in range(SHAPES)])[labels]
        _write(folder / f"{part}-images-idx3-ubyte.gz", bytes(16), images.tobytes())
        _write(folder / f"{part}-labels-idx1-ubyte.gz", bytes(8), labels.astype(np.uint8).tobytes())
