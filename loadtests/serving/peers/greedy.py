"""sentences → greedy translations by the exported graphs: a whole batch, until its last has ended.

What a user of a server without continuous batching writes: one run of the encoder, then steps of
the decoder over buffers that stay in place. Rows that have ended wait for the others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.contract import HANDED_ON, Tensor
from service.session import Model
from service.tasks import Item, Row
from service.tasks.translation import encode


def _fixed(tensor: Tensor) -> list[int]:
    return [size for size in tensor.axes if isinstance(size, int)]


def forward(model: Model, assets: Any, items: Sequence[Item]) -> list[Row]:
    """The tokens of each sentence, without the end token; no scores."""
    end = assets.directions.end
    most = max(int(item["max_new_tokens"]) for item in items)
    tensors = model.tensors("decoder")
    memory = encode(model, items)
    caches = {}
    for name, tensor in tensors.items():
        if name.startswith("past_") and name != "past_lengths":
            heads, width = _fixed(tensor)
            caches[name] = np.zeros((len(items), heads, most, width), tensor.dtype)
    fed = np.array([item["prompt"] for item in items])  # one token in the shipped model
    lengths = np.zeros(len(items), np.int64)
    logits = np.empty((len(items), *_fixed(tensors["logits"])), np.float32)
    inputs = {**memory, **caches, "tokens": fed, "past_lengths": lengths}
    outputs = {"logits": logits}
    for output, taken in HANDED_ON.items():
        for name in (*memory, *caches):
            if name.startswith(f"{taken}_"):
                outputs[name.replace(taken, output, 1)] = inputs[name]
    step = model.bind("decoder", inputs, outputs)
    found: list[list[int]] = [[] for _ in items]
    going = set(range(len(items)))
    while going:
        step()
        lengths += 1
        fed[:, 0] = logits.argmax(axis=1)
        for row in list(going):
            token = int(fed[row, 0])
            if token != end:
                found[row].append(token)
            if token == end or len(found[row]) == int(items[row]["max_new_tokens"]):
                going.discard(row)
    return [
        {
            "tokens": np.array(tokens, np.int64),
            "log_probability": np.array(0.0),
            "scored": np.array(len(tokens)),
        }
        for tokens in found
    ]
