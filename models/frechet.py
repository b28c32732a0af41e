"""pictures, pictures → the Fréchet distance between the two crowds, in features of our classifier.

Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium": two crowds are alike where the features of their pictures have the same means and
covariances. The features here are what the head of a small vision transformer sees that tells the
garments of Fashion-MNIST apart (recipe `fashion-mnist`), so distances do not compare with those in
features of Inception. `python -m models.frechet RUN_DIR` keeps the weights of a run of that recipe.
"""

import io
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy import ndarray
from PIL import Image
from safetensors.torch import load_file, save_file

from models import checkpoint
from models.architectures import vit
from models.datasets.fashion_mnist import pixels_of

WEIGHTS = Path(__file__).with_suffix(".safetensors")
CHUNK = 500
"""Pictures that are looked at together."""

Features = Float64[ndarray, "pictures width"]


@cache
def classifier() -> vit.VisionTransformer:
    model = vit.build(vit.PRESETS["garments"]).eval()
    stored = {name: tensor.float() for name, tensor in load_file(WEIGHTS).items()}
    checkpoint.fit(model, stored, source=WEIGHTS)
    return model


def features(files: Sequence[bytes]) -> Features:
    """What the classifier's head sees of grey picture files."""
    model, seen = classifier(), []
    hook = model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("L")) for file in files])
    with torch.inference_mode():
        for at in range(0, len(images), CHUNK):
            model(pixels_of(images[at : at + CHUNK], 3))
    hook.remove()
    found: Features = torch.cat(seen).double().numpy()
    return found


def classes(found: Features) -> Int[ndarray, " pictures"]:
    """The class that the classifier gives each picture, by its features."""
    with torch.inference_mode():
        chosen: Int[ndarray, " pictures"] = (
            classifier().head(torch.from_numpy(found).float()).argmax(1).numpy()
        )
    return chosen


def between(one: Features, other: Features) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), of the means and covariances of the features."""
    apart = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    # The trace of a root is the sum of the roots of the eigenvalues, which rounding makes complex.
    shared = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared)


def distance(made: Sequence[bytes], real: Sequence[bytes]) -> float:
    """Between pictures that were drawn and pictures that were taken."""
    return between(features(made), features(real))


def keep(run_dir: Path) -> None:
    """The weights of a training run are those of the classifier from now on."""
    _, model = checkpoint.load_model(run_dir)
    tensors = model.state_dict().items()
    save_file({name: t.half() if t.is_floating_point() else t for name, t in tensors}, WEIGHTS)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
