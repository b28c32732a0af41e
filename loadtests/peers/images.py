"""a vision transformer → its weights for every peer, pixels, and the logits it gives."""

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from export import published
from export.model import round_to_float16
from loadtests.peers import lowered
from loadtests.peers.peer import ATTENDANT, DEFAULT_ONNX, IMAGE, INPUTS, JOB, REFERENCE
from models import checkpoint
from models.architectures import vit
from models.catalogue import Architecture, architecture
from models.datasets import cifar10
from service.manifest import SHIPPED
from service.tasks.image_classification import normalised

SEED = 0
ROWS = 32
TINY = vit.Config(
    classes=1_000, width=192, heads=3, hidden=768, layers=12, side=224, patch=16, dropout=0.0
)
"""ViT-Ti/16 of Touvron et al. 2021, but for the class token's position vector: ours has none."""


def prepare_tiny(folder: Path, _: Path) -> None:
    """The shape of a widely used model; no data are asked for."""
    torch.manual_seed(SEED)
    model = vit.build(TINY).eval()
    pixels = np.random.default_rng(SEED).standard_normal((2 * ROWS, 3, TINY.side, TINY.side))
    _prepare(folder, architecture("vit"), model, pixels.astype(np.float32))


def prepare_shipped(folder: Path, data_dir: Path) -> None:
    """Pictures of the test split."""
    of, model = published.module(SHIPPED / "image-classification")
    images, _, _ = cifar10.read_images(data_dir / cifar10.PATH, "test")
    _prepare(folder, of, model, np.ascontiguousarray(normalised(images[: 2 * ROWS])))


def _prepare(folder: Path, of: Architecture, model: nn.Module, images: np.ndarray) -> None:
    """The first half is raced; from the other one activations get their range."""
    console, (pixels, others) = Console(), np.split(images, 2)
    round_to_float16(model)
    config: vit.Config = model.config  # type: ignore[assignment]
    state = {"architecture": of.name, "config": asdict(config), "model": model.state_dict()}
    untrained: dict[str, Any] = {"recipe": {}, "step": 0, "optimizers": []}
    torch.save(state | untrained, folder / checkpoint.NAME)
    console.print("  the default export")
    inputs = torch.from_numpy(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 warns of its own calls
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (inputs[:2],),
            folder / DEFAULT_ONNX,
            verbose=False,
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
    console.print("  Attendant's exports")
    lowered.write(
        lowered.alone(of, model),
        folder / ATTENDANT,
        answer=lambda runner: runner.run("model", {"pixels": others}),
    )
    with torch.inference_mode():
        reference = model(inputs).numpy()
    np.savez(folder / INPUTS, allow_pickle=False, pixels=pixels)
    np.save(folder / REFERENCE, reference)
    (folder / JOB).write_text(json.dumps({"kind": IMAGE}))
