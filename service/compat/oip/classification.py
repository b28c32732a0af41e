"""scores of classes → the best of them as texts: `score:index`, and `:label` where it has one.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedRequest

PARAMETER = "classification"


def count_of(name: str, parameters: Mapping[str, Any]) -> int:
    """How many classes are wanted of an output; 0 where it is wanted as it is."""
    count = parameters.get(PARAMETER, 0)
    if type(count) is not int or count < 0:
        raise MalformedRequest("is a whole number from 0", f"outputs.{name}.{PARAMETER}")
    return count


def best(name: str, scores: NDArray[Any], count: int, labels: Sequence[str]) -> NDArray[Any]:
    """Texts, rows by `count`, the best first; of fewer classes there are fewer texts."""
    if scores.dtype == object or scores.ndim != 2:
        raise MalformedRequest("holds no scores of classes", f"outputs.{name}.{PARAMETER}")
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = np.empty(order.shape, object)
    named = len(labels) == scores.shape[1]
    for at, index in np.ndenumerate(order):
        label = f":{labels[int(index)]}" if named else ""
        texts[at] = f"{scores[at[0], index]:f}:{index}{label}".encode()
    return texts
