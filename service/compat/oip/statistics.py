"""the metrics of a model, over all doors and workers → its statistics as the protocol has them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from service import exposition

STAGES = {
    "queue": "queue", "compute_input": "preprocess",
    "compute_infer": "compute", "compute_output": "postprocess",
}  # fmt: skip
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

    Successes are timed by the stages of their requests; how long failures took is not known.
    """

    def stage(name: str) -> tuple[float, float]:
        key = "attendant_stage_duration_seconds"
        return counted.get((f"{key}_count", model, name), 0), counted.get(
            (f"{key}_sum", model, name), 0
        )

    stages = {name: stage(ours) for name, ours in STAGES.items()}
    answered = max(count for count, _ in stages.values())
    failed = sum(
        value
        for (name, of, code), value in counted.items()
        if name == "attendant_requests_total" and of == model and code not in ("ok", GONE)
    )
    return {
        "last_inference": round(
            1e3 * counted.get(("attendant_last_answer_timestamp_seconds", model, ""), 0)
        ),
        "inference_count": int(counted.get(("attendant_batch_items_sum", model, ""), 0)),
        "execution_count": int(counted.get(("attendant_batch_items_count", model, ""), 0)),
        "inference_stats": {
            "success": _duration(answered, sum(seconds for _, seconds in stages.values())),
            "fail": _duration(failed, 0),
            **{name: _duration(*times) for name, times in stages.items()},
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
    }
