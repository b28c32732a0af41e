"""target → how the graphs of a model are lowered for it."""

from collections.abc import Mapping

from export import contrib_attention, standard_attention
from export.lower import Lowering

TARGETS: Mapping[str, Lowering] = {
    "cpu": contrib_attention.LOWERING,
    "onnx": standard_attention.LOWERING,
}
