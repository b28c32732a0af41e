"""a published model folder → the torch module it was exported from, to be lowered anew.

Small tensors stand in the graphs, matrices in the weights file; what the export folded into a
convolution becomes that convolution's normalisation.
"""

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from export.model import FOLDED
from export.publish import inline
from export.source import Trained
from models.catalogue import Architecture, architecture
from models.checkpoint import BadCheckpoint
from service import manifest as manifests
from service.int8 import INT8, SCALE, widened
from service.manifest import WEIGHTS
from service.session import read_weights

FOLDED_BIAS = f".weight{FOLDED}"
"""What the name of a convolution's bias ends in, once the normalisation behind it is folded."""


def stored(folder: Path) -> dict[str, Tensor]:
    """Every constant of the folder by its name; int8 matrices are widened."""
    manifest = manifests.read(folder)
    files = (folder / entry.file for entry in manifest.graphs.values())
    arrays: dict[str, Any] = inline(onnx.load(file, load_external_data=False) for file in files)
    arrays |= read_weights(folder / WEIGHTS)
    for name in [name for name in arrays if name.endswith(INT8)]:
        matrix = name.removesuffix(INT8)
        arrays[matrix] = widened(arrays[name], arrays[matrix + SCALE])
    arrays |= {name: arrays[other] for name, other in manifest.shared.items()}
    return {name: torch.tensor(array) for name, array in arrays.items()}


def from_published(folder: Path) -> Trained:
    """What exporting the folder's model again takes; BadCheckpoint if a tensor is missing."""
    manifest = manifests.read(folder)
    try:
        of, model = module(folder)
    except KeyError as missing:
        raise BadCheckpoint(str(missing)) from missing
    graphs = [entry.file for entry in (*manifest.graphs.values(), *manifest.few.values())]
    return Trained(
        of,
        model,
        assets=[folder / name for name in manifest.files if name not in (*graphs, WEIGHTS)],
        data=manifest.data,
        recipe=manifest.recipe,
        metrics=manifest.metrics,
        package=manifest.package,
        task=manifest.task,
        imported=manifest.imported,
        fine_tuned=manifest.fine_tuned,
    )


def module(folder: Path) -> tuple[Architecture, nn.Module]:
    """The architecture and the model, in evaluation mode; KeyError if a tensor is missing."""
    manifest = manifests.read(folder)
    of = architecture(manifest.architecture)
    model = of.build(of.config(**manifest.config)).eval()
    tensors = stored(folder)
    state = model.state_dict()
    for name in state:
        if name in tensors:
            state[name] = tensors[name].reshape(state[name].shape)
    for name in [name for name in tensors if name.endswith(FOLDED_BIAS)]:
        stage, _, number = name.removesuffix(FOLDED_BIAS).rpartition(".")
        norm = f"{stage}.{int(number) + 1}"
        epsilon: Any = model.get_submodule(norm).eps
        state[f"{norm}.bias"] = tensors[name]
        state[f"{norm}.running_mean"].zero_()
        state[f"{norm}.running_var"].fill_(1 - epsilon)
        state[f"{norm}.weight"].fill_(1)
        tensors |= {f"{norm}.{kind}": state[f"{norm}.{kind}"] for kind in _NORM}
    for name, norm in model.named_modules():
        # One without gain and bias leaves nothing of itself in the convolution it was folded into.
        if isinstance(norm, nn.BatchNorm2d) and not norm.affine:
            folded = {"running_mean": 0.0, "running_var": 1 - norm.eps}
            for kind, value in folded.items():
                if f"{name}.{kind}" not in tensors:
                    tensors[f"{name}.{kind}"] = state[f"{name}.{kind}"].fill_(value)
    needed = served(of, model)
    missing = [
        name
        for name in state
        if name in needed and name not in tensors and "num_batches" not in name
    ]
    if missing:
        raise KeyError(f"{folder} lacks {', '.join(missing)}")
    model.load_state_dict(state)
    return of, model


def served(of: Architecture, model: nn.Module) -> set[str]:
    """The tensors that its graphs hold; what else a model has was for its training."""
    held = {
        tensor.data_ptr()
        for graph in of.graphs(model)
        for tensor in graph.module.state_dict().values()
    }
    return {name for name, tensor in model.state_dict().items() if tensor.data_ptr() in held}


_NORM = ("weight", "bias", "running_mean", "running_var")
