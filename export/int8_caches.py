"""graphs with float32 keys and values → the same with int8 ones, a scale for each channel.

A decoding step reads all keys and values of its rows, and little else: a quarter of the bytes is
less than half of the time. GroupQueryAttention multiplies with int8 caches as they are and rounds
what it adds to them; the encoder's graph rounds what it hands over once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from service.contract import HANDED_ON

Scales = Mapping[str, NDArray[np.float32]]
"""What one step of the integers counts: `past_key_0` → (heads, head_dim), and so on."""
SINK, K_SCALE = 11, 12
"""Where GroupQueryAttention takes the logits of sinks, and the scale of the keys; that of the
values follows."""
NOTHING = np.finfo(np.float32).min
"""The logit of a sink that takes no attention. ONNX Runtime goes through int8 keys and values block
by block unless there are sinks, and then head by head: a third less time, for the same sums."""
MOVES = ("Transpose", "Gather", "Reshape", "Split", "Identity")
"""Operators that work on integers as on floats."""


def step_over_int8(proto: onnx.ModelProto, scales: Scales) -> onnx.ModelProto:
    """A decoding step → the same over int8 keys and values."""
    out = _copy(proto)
    for node in out.graph.node:
        if node.op_type != "GroupQueryAttention":
            continue
        keys, values = node.input[3], node.input[4]
        node.input.extend([""] * (SINK - len(node.input)))
        heads = len(scales[keys])
        sink = f"{keys}.sink"
        out.graph.initializer.append(onnx.numpy_helper.from_array(np.full(heads, NOTHING), sink))
        node.input.append(sink)
        for name, prefix in ((keys, "k"), (values, "v")):
            scale = scales[name][None, :, None, :]
            out.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
            node.input.append(f"{name}.scale")
            node.attribute.append(helper.make_attribute(f"{prefix}_quant_type", "PER_CHANNEL"))
        node.attribute.append(helper.make_attribute("kv_cache_bit_width", 8))
    for value in (*out.graph.input, *out.graph.output):
        kind, _, layer = value.name.partition("_")
        if f"{HANDED_ON.get(kind, kind)}_{layer}" in scales:
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    return out


def hand_over_int8(proto: onnx.ModelProto, scales: Scales) -> onnx.ModelProto:
    """An encoder → the same with int8 keys and values as outputs.

    They are rounded where their product comes out, side by side, and moved about as integers.
    """
    out = _copy(proto)
    nodes = out.graph.node
    made = {name: node for node in nodes for name in node.output}
    halves: dict[str, dict[str, NDArray[np.float32]]] = {}
    for value in out.graph.output:
        value.type.tensor_type.elem_type = onnx.TensorProto.INT8
        origin = value.name
        while made[origin].op_type in MOVES:
            origin = made[origin].input[0]
        part = "key" if "_key_" in value.name else "value"
        halves.setdefault(origin, {})[part] = scales[value.name].reshape(-1)
    for origin, scale in halves.items():
        steps = np.concatenate([scale["key"], scale["value"]])
        arrays: dict[str, NDArray[Any]] = {
            f"{origin}.steps": 1 / steps,
            f"{origin}.one": np.array(1, np.float32),
            f"{origin}.zero": np.array(0, np.int8),
        }
        for name, array in arrays.items():
            out.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        steps_name, one_name, zero_name = arrays
        for node in nodes:
            for index, name in enumerate(node.input):
                if name == origin:
                    node.input[index] = f"{origin}.int8"
        here = list(nodes).index(made[origin]) + 1
        scaled = helper.make_node("Mul", [origin, steps_name], [f"{origin}.scaled"])
        rounded = helper.make_node(
            "QuantizeLinear", [f"{origin}.scaled", one_name, zero_name], [f"{origin}.int8"]
        )
        nodes.insert(here, scaled)
        nodes.insert(here + 1, rounded)
    return out


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    out: Any = onnx.ModelProto()
    out.CopyFrom(proto)
    del out.graph.value_info[:]  # the dtypes noted there are those of before
    copied: onnx.ModelProto = out
    return copied
