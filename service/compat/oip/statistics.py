"""the metrics of a model, over all doors and workers → its statistics as the protocol has them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from service import exposition

STAGES = {
    "queue": ("queue", "batch_wait"), "compute_input": ("preprocess",),
    "compute_infer": ("encode", "decode", "compute"), "compute_output": ("postprocess",),
}  # fmt: skip
"""The protocol's stages → ours, of which a request has some."""
GONE = "cancelled"
"""Requests whose clients left: no success, and no failure of the model either."""
Sums = Mapping[tuple[str, str, str], float]
"""Sample, model, and stage or code → its value, over all other labels."""


def sums() -> Sums:
    """What has been counted; takes milliseconds."""
    found: dict[tuple[str, str, str], float] = defaultdict(float)
    for family in exposition.registry().collect():
        for sample in family.samples:
            labels = sample.labels
            if "model" in labels and "le" not in labels:
                kind = labels.get("stage", labels.get("code", ""))
                found[sample.name, labels["model"], kind] += sample.value
    return found


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": round(seconds * 1e9)}


def of_model(counted: Sums, model: str) -> dict[str, Any]:
    """Statistics without the name and version of the model.

    Successes are timed by the stages of their requests, failures by all of their time.
    """

    def of(sample: str, kind: str = "") -> float:
        return counted.get((sample, model, kind), 0)

    def stage(names: Sequence[str]) -> tuple[float, float]:
        key = "attendant_stage_duration_seconds"
        counts, sums = ([of(f"{key}_{what}", name) for name in names] for what in ("count", "sum"))
        return max(counts), sum(sums)

    stages = {name: stage(ours) for name, ours in STAGES.items()}
    answered = max(count for count, _ in stages.values())
    failed = sum(
        value
        for (name, of, code), value in counted.items()
        if name == "attendant_requests_total" and of == model and code not in ("ok", GONE)
    )
    return {
        "last_inference": round(1e3 * of("attendant_last_answer_timestamp_seconds")),
        "inference_count": int(of("attendant_batch_items_sum")),
        "execution_count": int(of("attendant_batch_items_count")),
        "inference_stats": {
            "success": _duration(answered, sum(seconds for _, seconds in stages.values())),
            "fail": _duration(failed, of("attendant_failed_seconds_total")),
            **{name: _duration(*times) for name, times in stages.items()},
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
    }
