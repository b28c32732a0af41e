"""graphs, weights, assets and a passed parity report → model folder with its manifest."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from torch import nn

from export import card
from export.source import Trained
from export.targets import Mapped
from service import manifest as manifests
from service.int8 import SCALE
from service.manifest import WEIGHTS, GraphFile, Manifest, Parity, sha256

INLINE_BYTES = 1_024
"""Initializers up to this size stay in the graph; larger ones are weights."""
DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8", "int64": "I64"}
"""As the format of safetensors names them."""


def split_weights(
    model: ir.Model, names: Mapping[str, str]
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """A graph → the graph with external initializers, and what they are.

    `names` renames the parameters of the traced wrapper to those of the trained model, so that
    the graphs of one model share their weights.
    """
    weights = {}
    for value in list(model.graph.initializers.values()):
        value.name = names.get(str(value.name), value.name)
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes > INLINE_BYTES:
            # What torch holds is looked at and never copied: models may be large.
            weights[str(value.name)] = np.ascontiguousarray(tensor.numpy())
            shape = ir.Shape(tensor.shape.numpy())
            value.const_value = ir.ExternalTensor(
                WEIGHTS, None, None, tensor.dtype, shape=shape, name=str(value.name)
            )
    proto = ir.to_proto(model)
    proto.producer_name = "attendant"
    return proto, weights


def publish(
    folder: Path,
    trained: Trained,
    *,
    name: str,
    target: str,
    graphs: Mapping[str, onnx.ModelProto],
    mapped: Mapping[str, Mapped],
    weights: Mapping[str, NDArray[Any]],
    parity: Parity,
) -> Manifest:
    """Write a model folder; without a passed parity report there is none to write."""
    if set(parity.graphs) != set(graphs):
        raise ValueError(f"parity covers {sorted(parity.graphs)}, not {sorted(graphs)}")
    config: Any = trained.model.config
    halved = any(graph.precision == "float16" for graph in mapped.values())
    with replacing(folder) as partial:
        for graph_name, proto in graphs.items():
            onnx.save(proto, partial / f"{graph_name}.onnx")
        save_weights(weights, partial / WEIGHTS)
        for asset in trained.assets:
            shutil.copy(asset, partial)
        manifest = Manifest(
            name=name,
            task=trained.task,
            architecture=trained.architecture.name,
            config=asdict(config),
            target=target,
            graphs={
                graph_name: GraphFile(
                    file=f"{graph_name}.onnx",
                    weights=external(proto),
                    provider=mapped[graph_name].provider,
                    precision=mapped[graph_name].precision,
                )
                for graph_name, proto in graphs.items()
            },
            files={},
            parity=parity,
            data=trained.data,
            recipe=dict(trained.recipe),
            metrics=dict(trained.metrics),
            revision=_revision(),
            cache_dtype="float16" if halved else "float32",
            package=trained.package,
            imported=trained.imported,
            fine_tuned=trained.fine_tuned,
            shared=shared(trained.model, graphs, weights),
        )
        return seal(partial, manifest)


def shared(
    model: nn.Module,
    graphs: Mapping[str, onnx.ModelProto],
    weights: Mapping[str, NDArray[Any]],
) -> dict[str, str]:
    """Small tensors of a model that its graphs hold under another name, maybe in another shape.

    They are equal to another tensor, or were folded with the operator that reshapes them.
    """
    kept = dict(weights) | inline(graphs.values())
    absent = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in kept and tensor.is_floating_point()
    }
    keys = {name: tensor.float().numpy().tobytes() for name, tensor in absent.items()}
    # Weights are large and most have no equal among these: those are not copied.
    sizes = {tensor.numel() for tensor in absent.values()}
    names = {
        array.astype(np.float32).tobytes(): name
        for name, array in kept.items()
        if array.dtype.kind == "f" and array.size in sizes
    }
    return {name: names[key] for name, key in keys.items() if key in names}


def inline(graphs: Iterable[onnx.ModelProto]) -> dict[str, NDArray[Any]]:
    """The initializers that stand in the graphs themselves."""
    return {
        initializer.name: onnx.numpy_helper.to_array(initializer)
        for proto in graphs
        for initializer in proto.graph.initializer
        if initializer.data_location != onnx.TensorProto.EXTERNAL
    }


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder, which takes the place of `folder` if all goes well, and is gone if not."""
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def external(proto: onnx.ModelProto) -> list[str]:
    """The initializers that a graph takes from the weights file."""
    return [
        initializer.name
        for initializer in proto.graph.initializer
        if initializer.data_location == onnx.TensorProto.EXTERNAL
    ]


def save_weights(weights: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write the weights file; float32 is stored as float16, but for the scales of int8.

    The library's writers want all of it in memory once more, in another copy or two. Here too the
    widest items come first, so that all are aligned.
    """
    dtypes = {
        name: np.dtype(np.float16)
        if array.dtype == np.float32 and not name.endswith(SCALE)
        else array.dtype
        for name, array in weights.items()
    }
    order = sorted(weights, key=lambda name: (-dtypes[name].itemsize, name))
    header, end = {}, 0
    for name in order:
        start, end = end, end + weights[name].size * dtypes[name].itemsize
        header[name] = {
            "dtype": DTYPES[dtypes[name].name],
            "shape": list(weights[name].shape),
            "data_offsets": [start, end],
        }
    described = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    described += b" " * (-len(described) % 8)
    with path.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for name in order:
            file.write(np.ascontiguousarray(weights[name], dtypes[name]).data)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest with the hash of every file, and the card."""
    described = (manifests.NAME, card.NAME)
    files = {
        path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name not in described
    }
    manifest = manifest.model_copy(update={"files": files})
    text = json.dumps(manifest.model_dump(), indent=1)
    (folder / manifests.NAME).write_text(text + "\n")
    (folder / card.NAME).write_text(card.card(manifest))
    return manifest


def _revision() -> str:
    """The commit that the code was at, or `unknown` outside a checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
