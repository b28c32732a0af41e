"""a model with Hugging Face's `generate`, whichever library made it → a run of a work."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import HUGGING_FACE, Inputs, Job, Run, attention_mask

GREEDY = {"num_beams": 1, "do_sample": False}


def translation(model: Any, job: Job) -> Run:
    """Exactly as many tokens as asked for."""
    import torch

    wanted = job.facts["new_tokens"]

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.from_numpy(inputs["source"]),
                attention_mask=torch.from_numpy(attention_mask(inputs)),
                min_new_tokens=wanted,
                max_new_tokens=wanted,
                forced_eos_token_id=None,
                **GREEDY,
            )
        tokens: NDArray[Any] = out[:, 1:].numpy()
        return tokens

    return run


def speech(model: Any, job: Job, dtype: str = "float32") -> Run:
    """Features by Hugging Face's own extractor; all clips are one batch."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    folder = job.folder / HUGGING_FACE
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    tokenizer = WhisperTokenizerFast.from_pretrained(folder)
    spoken = {"language": "en", "task": "transcribe"} if job.facts["multilingual"] else {}
    rate_hz = job.facts["rate_hz"]

    def run(inputs: Inputs) -> NDArray[Any]:
        clips = list(inputs["samples"])
        with torch.autocast("cpu", enabled=False):  # the extractor is made for float32 alone
            features = extractor(clips, sampling_rate=rate_hz, return_tensors="pt").input_features
        with torch.inference_mode():
            tokens = model.generate(
                features.to(getattr(torch, dtype)),
                max_new_tokens=job.facts["max_new_tokens"],
                **GREEDY,
                **spoken,
            )
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return np.array([text.strip() for text in texts])

    return run
