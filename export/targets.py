"""target → how the graphs of a model are lowered for it, and what runs them."""

from collections.abc import Mapping
from dataclasses import dataclass

from export import contrib_attention, plain_attention, standard_attention
from export.lower import Lowering
from models.graph import Attentions


@dataclass(frozen=True)
class Target:
    """A way to run a model; graphs over a cache may want another lowering than the others."""

    whole: Lowering
    stepping: Lowering

    def lowering(self, attentions: Attentions) -> Lowering:
        return self.stepping if attentions.cached else self.whole


TARGETS: Mapping[str, Target] = {
    "cpu": Target(contrib_attention.LOWERING, contrib_attention.LOWERING),
    "onnx": Target(standard_attention.LOWERING, standard_attention.LOWERING),
    # Its compiler fuses the pattern; only the CPU provider's op writes a cache in place.
    "openvino": Target(plain_attention.LOWERING, contrib_attention.LOWERING),
}
