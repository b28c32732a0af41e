"""one-second clips → keyword probabilities of KWT-1, the teacher of our keyword transformer.

Source: Berg et al. 2021, "Keyword Transformer: A Self-Attention Model for Keyword Spotting", and
its released 12-label weights (ARM-software/keyword-transformer, Apache-2.0). Its blocks are
post-norm, norm(x + sublayer(x)), so they are not those of `models.layers`.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from models.attention import attend

SOURCE = "https://github.com/ARM-software/keyword-transformer, KWT-1, 12 labels"
LICENCE = "Apache-2.0"
HOP_SAMPLES = 160
LAYERS = 12


class Kwt1:
    """The released tensors under their own names; `labels` is the order of its classes."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "kwt1_weights.npz") as file:
            self.weights = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
        self.labels = (folder / "labels.txt").read_text().split()

    def cepstrum(self, samples: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames 40"]:
        """40 mel-frequency cepstral coefficients every 10 ms, by matrices of the release."""
        w = self.weights
        frames = samples.unfold(-1, len(w["frontend.window"]), HOP_SAMPLES) * w["frontend.window"]
        real, imaginary = linear(frames, w["frontend.dft_a"]), linear(frames, w["frontend.dft_b"])
        mels = linear((real**2 + imaginary**2).sqrt(), w["frontend.mel"])
        return linear(mels.clamp(min=w["frontend.log_floor"]).log(), w["frontend.dct"])

    def _block(self, x: Tensor, layer: int) -> Tensor:
        def get(name: str) -> Tensor:
            return self.weights[f"blocks.{layer}.{name}"]

        def norm(x: Tensor, name: str) -> Tensor:
            return layer_norm(x, x.shape[-1:], get(f"{name}.weight"), get(f"{name}.bias"), 1e-6)

        query, key, value = (linear(x, get(f"{name}.weight"))[:, None] for name in "qkv")
        attended = attend(query, key, value)[:, 0]
        x = norm(x + linear(attended, get("o.weight"), get("o.bias")), "ln1")
        hidden = gelu(linear(x, get("fc1.weight"), get("fc1.bias")))
        return norm(x + linear(hidden, get("fc2.weight"), get("fc2.bias")), "ln2")

    @torch.no_grad()
    def probabilities(
        self, samples: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch classes"]:
        """Class probabilities of clips of 16,000 samples at 16 kHz, full scale 1."""
        w = self.weights
        x = linear(self.cepstrum(samples), w["embed.weight"], w["embed.bias"])
        x = torch.cat([w["class_emb"].expand(len(x), -1, -1), x], dim=1) + w["pos_emb"]
        for layer in range(LAYERS):
            x = self._block(x, layer)
        return linear(x[:, 0], w["head.weight"], w["head.bias"]).softmax(-1)
