"""a body without JSON → the one input of a model: all of the body, its shape from its length.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from math import prod

import numpy as np

from service.compat.oip.infer import Asked
from service.compat.oip.models import Model
from service.compat.oip.tensors import BYTES, DTYPES, Given
from service.errors import MalformedRequest


def asked_of(model: Model, body: bytes) -> Asked:
    """All of a body as the model's input; of BYTES it is one element."""
    if len(model.inputs) != 1:
        raise MalformedRequest(f"{model.name} takes more than one input; send JSON", "body")
    (spec,) = model.inputs
    if spec.datatype == BYTES:
        return Asked(inputs=[Given(spec.name, BYTES, [1], [body])])
    size = np.dtype(DTYPES[spec.datatype]).itemsize * prod(n for n in spec.shape if n > 0)
    free = spec.shape.count(-1)
    if free > 1 or not body or len(body) % size or (not free and len(body) != size):
        raise MalformedRequest(
            f"{len(body)} bytes have no shape of {list(spec.shape)} {spec.datatype}; send JSON",
            "body",
        )
    shape = [len(body) // size if n == -1 else n for n in spec.shape]
    return Asked(inputs=[Given(spec.name, spec.datatype, shape, raw=body)])
