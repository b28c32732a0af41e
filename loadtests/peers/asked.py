"""recorded races → what Attendant was asked to reach against each engine, beside what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from loadtests.peers.record import Benchmarks, WorkRecord

TUNED = ("Attendant openvino", "Attendant int8")
"""The first of them that was raced; the same in `ours` below."""
TRANSLATIONS = ("translation-marian", "translation-imported", "translation-shipped")
SPEECH = ("whisper-tiny.en", "whisper-base")
IMAGES = ("image-classification-vit-tiny-224", "image-classification-shipped")
OPTIMUM_INTEL = ("optimum-intel bf16", "optimum-intel int8")
OPENVINO = ("OpenVINO latency", "OpenVINO throughput")
GENAI, VLLM = "openvino-genai int8", "vLLM bf16"
FASTER, BATCHED = "faster-whisper int8", "faster-whisper int8 batched"
WHISPER_CPP = ("whisper.cpp f16", "whisper.cpp q8_0")
DEFAULT = ("ONNX Runtime default fp32",)
MEAN, EACH = "geometric mean", "each size"


SIZE = 0.3
"""What the weights of a shipped model may have of their size in float32."""


@dataclass(frozen=True)
class Asked:
    """How many times as fast as the best of some peers Attendant is to be."""

    works: Sequence[str]
    ours: Sequence[str]
    against: Sequence[str]
    at_least: float
    over: str = MEAN
    sizes: Sequence[int] = ()
    """All of the work unless given."""


ASKED = (
    Asked(TRANSLATIONS, TUNED, ("CTranslate2 int8", *OPTIMUM_INTEL), 1.25),
    Asked(TRANSLATIONS, TUNED, ("CTranslate2 int8", *OPTIMUM_INTEL), 1.05, EACH),
    Asked(TRANSLATIONS, TUNED, ("CTranslate2 int8",), 1.5),
    Asked(TRANSLATIONS, ("Attendant fp32",), ("CTranslate2 fp32",), 1.5),
    Asked(SPEECH, TUNED, (GENAI, FASTER, VLLM, *WHISPER_CPP), 1.2, EACH, (1,)),
    Asked(SPEECH, TUNED, (GENAI, FASTER, BATCHED, VLLM), 1.5, EACH, (8,)),
    Asked(SPEECH, TUNED, (FASTER,), 4.0, EACH, (8,)),
    Asked(SPEECH, ("Attendant int8",), (FASTER,), 1.5, EACH, (1,)),
    Asked(SPEECH, ("Attendant int8",), (FASTER,), 2.0, EACH, (8,)),
    Asked(IMAGES, TUNED, DEFAULT, 2.5),
    Asked(IMAGES, TUNED, DEFAULT, 1.7, EACH),
    Asked(IMAGES, TUNED, OPENVINO, 0.95, EACH),
    Asked(IMAGES, TUNED, ("torch eager bf16",), 1.1, EACH),
    Asked(IMAGES, ("Attendant int8",), DEFAULT, 1.3),
)


@dataclass(frozen=True)
class Seen:
    """One row of the table."""

    work: str
    ours: str
    asked: Asked
    against: Sequence[str]
    """Those of the others that were raced."""
    ratios: dict[int, float]
    """Size → how many times as fast as the best of the others."""

    @property
    def ratio(self) -> float:
        ratios = list(self.ratios.values())
        return geometric_mean(ratios) if self.asked.over == MEAN else min(ratios)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.asked.at_least


def ratios(work: WorkRecord, ours: str, against: Sequence[str]) -> dict[int, float]:
    """Size → the least seconds of the others over ours; empty if one side was not raced."""
    raced = work.raced()
    others = [raced[name] for name in against if name in raced]
    if ours not in raced or not others:
        return {}
    return {
        size: min(other.median_s(size) for other in others) / raced[ours].median_s(size)
        for size in work.sizes
    }


def seen(benchmarks: Benchmarks) -> list[Seen]:
    """Every ask whose two sides were raced."""
    rows = []
    for asked in ASKED:
        for name in asked.works:
            if name not in benchmarks.works:
                continue
            work = benchmarks.works[name]
            ours = next((each for each in asked.ours if each in work.raced()), "")
            found = ratios(work, ours, asked.against)
            found = {size: r for size, r in found.items() if size in (asked.sizes or work.sizes)}
            if found:
                against = [other for other in asked.against if other in work.raced()]
                rows.append(Seen(name, ours, asked, against, found))
    return rows
