"""Fashion-MNIST garments → batches of grey pixels and class numbers.

Its four files are in `fashion-mnist` of the data folder, or where Debian's package
`dataset-fashion-mnist` puts them.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy import ndarray

from models.datasets import Batch, Example, write_labels
from models.datasets._rows import Rows
from models.datasets.cifar10 import balanced_rows
from models.recipe import SEED
from service.tasks.unconditional_image_generation import MAX_COUNT, Request, png

SOURCE = "https://github.com/zalandoresearch/fashion-mnist (Xiao et al. 2017)"
LICENCE = "MIT"
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
PATH = "fashion-mnist"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
DEV_IMAGES = 5_000
PIXELS_AT, LABELS_AT = 16, 8
"""Where the content of an IDX file begins: behind four numbers of four bytes, or two."""

Images = UInt8[ndarray, "images 28 28"]
Labels = Int[ndarray, " images"]


def file(data_dir: Path, split: str) -> tuple[Images, Labels]:
    """All 10,000 pictures that `test` is made of, or the 60,000 of any other split, and classes."""
    folder = data_dir / PATH if (data_dir / PATH).is_dir() else DEBIAN
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no garments in {data_dir / PATH} or {DEBIAN}: install dataset-fashion-mnist, or put "
            f"the four .gz files there from {SOURCE.partition(' ')[0]}"
        )
    part = "t10k" if split == "test" else "train"
    pixels = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    numbers = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=PIXELS_AT).reshape(-1, 28, 28)
    return images, np.frombuffer(numbers, np.uint8, offset=LABELS_AT).astype(np.int64)


def read(data_dir: Path, split: str) -> tuple[Images, Labels]:
    """Pictures of `train`, `dev` (5,000 of train's 60,000) or `test`, and classes."""
    images, labels = file(data_dir, split)
    if split == "test":
        return images, labels
    dev = np.isin(np.arange(len(labels)), balanced_rows(labels, size=DEV_IMAGES, seed=SEED))
    chosen = dev if split == "dev" else ~dev
    return images[chosen], labels[chosen]


def pixels_of(images: Images, channels: int) -> torch.Tensor:
    """0..255 → -1..1, the grey once for each channel."""
    grey = torch.from_numpy(images.astype(np.float32) / 127.5 - 1)
    return grey[:, None].expand(-1, channels, -1, -1)


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Rows[int]:
    """A split by `batch_size`, grey in so many `channels`.

    The names of the classes go to `run_dir`/assets/labels.json.
    """
    images, labels = read(data_dir, split)
    write_labels(run_dir, CLASSES)
    channels = int(options["channels"])

    def batch(rows: Sequence[int]) -> Batch:
        return {
            "pixels": pixels_of(images[rows], channels),
            "labels": torch.from_numpy(labels[rows]),
        }

    return Rows(
        range(len(labels)),
        batch,
        batch_size=int(options["batch_size"]),
        seed=seed,
        shuffle=split == "train",
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """Requests for as many pictures of each class as the split has, which are the references."""
    images, labels = read(data_dir, split)
    for label, name in enumerate(CLASSES):
        files = [png(grey) for grey in pixels_of(images[labels == label], 1).numpy()]
        for at in range(0, len(files), MAX_COUNT):
            real = files[at : at + MAX_COUNT]
            request = Request(label=name, count=len(real), seed=label * len(labels) + at)
            yield Example(split, request, real)
