"""Optimum Intel: OpenVINO behind Hugging Face's `generate`, exported by its own tools."""

from typing import Any

from loadtests.peers import generate, m2m100
from loadtests.peers.peer import HUGGING_FACE, TRANSLATION, Job, Loaded, Peer

PACKAGES = ("optimum-intel", "openvino", "nncf", "transformers", "torch")
PEERS = (
    Peer("optimum-intel bf16", "bfloat16", (TRANSLATION,)),
    Peer("optimum-intel int8", "int8", (TRANSLATION,)),
)


def load(job: Job) -> Loaded:
    from optimum.intel import OVModelForSeq2SeqLM, OVWeightQuantizationConfig

    m2m100.count_from_zero()
    # Where the processor multiplies in bfloat16 OpenVINO does so by itself.
    settings = {"INFERENCE_NUM_THREADS": str(job.threads), "PERFORMANCE_HINT": "LATENCY"}
    folder = job.folder / f"optimum-intel-{job.variant}"
    if not (folder / "config.json").exists():
        more: dict[str, Any] = {}
        if job.variant == "int8":
            more["quantization_config"] = OVWeightQuantizationConfig(bits=8)
        exported = OVModelForSeq2SeqLM.from_pretrained(
            job.folder / HUGGING_FACE, export=True, compile=False, load_in_8bit=False, **more
        )
        exported.save_pretrained(folder)
    model = OVModelForSeq2SeqLM.from_pretrained(folder, ov_config=settings)
    return Loaded(generate.translation(model, job), settings)
