"""target → how the graphs of a model are lowered for it, and what runs them."""

from collections.abc import Mapping
from dataclasses import dataclass

from export import contrib_attention, plain_attention, standard_attention
from export.lower import Lowering
from models.graph import Attentions
from service.providers import Precision, Provider


@dataclass(frozen=True)
class Mapped:
    """How a graph is lowered, the provider that runs it, and in what precision."""

    lowering: Lowering
    provider: Provider = "cpu"
    precision: Precision = "float32"


@dataclass(frozen=True)
class Target:
    """A way to run a model; graphs over a cache may want another lowering than the others."""

    whole: Mapped
    stepping: Mapped

    def of(self, attentions: Attentions) -> Mapped:
        return self.stepping if attentions.cached or attentions.additive else self.whole


_FUSED = Mapped(contrib_attention.LOWERING)
_STANDARD = Mapped(standard_attention.LOWERING)
# The compiler fuses the pattern; only the CPU provider's own op writes a cache in place.
_COMPILED = Mapped(plain_attention.LOWERING, "openvino")
# Its GroupQueryAttention, and whatever uses tensor cores, wants float16.
_HALVED = Mapped(contrib_attention.LOWERING, "cuda", "float16")

TARGETS: Mapping[str, Target] = {
    "cpu": Target(whole=_FUSED, stepping=_FUSED),
    "onnx": Target(whole=_STANDARD, stepping=_STANDARD),
    "openvino": Target(whole=_COMPILED, stepping=_FUSED),
    "cuda": Target(whole=_HALVED, stepping=_HALVED),
}
