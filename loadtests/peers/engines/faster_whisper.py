"""faster-whisper: the package's folder as it is; many clips in turn, or as one batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import PACKAGE, SPEECH, Inputs, Job, Loaded, Peer

PACKAGES = ("faster-whisper", "ctranslate2")
BATCHED = " batched"
PEERS = (
    Peer("faster-whisper fp32", "float32", (SPEECH,)),
    Peer("faster-whisper int8", "int8", (SPEECH,)),
    Peer("faster-whisper int8 batched", f"int8{BATCHED}", (SPEECH,)),
)
OPTIONS: dict[str, Any] = {
    "language": "en",
    "beam_size": 1,
    "temperature": 0.0,
    "without_timestamps": True,
}


def load(job: Job) -> Loaded:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    compute_type = job.variant.removesuffix(BATCHED)
    model = WhisperModel(
        str(job.folder / PACKAGE),
        device="cpu",
        compute_type=compute_type,
        cpu_threads=job.threads,
    )
    settings = {"compute_type": compute_type, "cpu_threads": str(job.threads)}
    settings |= {name: str(value) for name, value in OPTIONS.items()}

    def in_turn(inputs: Inputs) -> NDArray[Any]:
        texts = []
        for samples in inputs["samples"]:
            segments, _ = model.transcribe(
                samples,
                condition_on_previous_text=False,
                compression_ratio_threshold=None,
                log_prob_threshold=None,
                no_speech_threshold=None,
                **OPTIONS,
            )
            texts.append(" ".join(segment.text.strip() for segment in segments))
        return np.array(texts)

    if job.variant == compute_type:
        return Loaded(in_turn, settings)
    pipeline = BatchedInferencePipeline(model)

    def batched(inputs: Inputs) -> NDArray[Any]:
        clips = inputs["samples"]
        clip_s = clips.shape[1] / job.facts["rate_hz"]
        segments, _ = pipeline.transcribe(
            clips.reshape(-1),
            clip_timestamps=[
                {"start": clip * clip_s, "end": (clip + 1) * clip_s} for clip in range(len(clips))
            ],
            batch_size=len(clips),
            **OPTIONS,
        )
        texts = [""] * len(clips)
        for segment in segments:
            clip = int((segment.start + segment.end) / 2 / clip_s)
            texts[clip] = f"{texts[clip]} {segment.text.strip()}".strip()
        return np.array(texts)

    return Loaded(batched, {**settings, "batch_size": "all clips"})
