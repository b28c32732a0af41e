"""works, and a folder each → weights in every peer's format, inputs and the reference outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests.peers import images, recordings, sentences
from loadtests.peers.peer import IMAGE, SPEECH, TRANSLATION


@dataclass(frozen=True)
class Work:
    """What is raced."""

    kind: str
    about: str
    unit: str
    per_batch: float | None
    """What a row of a batch counts; none where the unit is the time of a batch."""
    sizes: tuple[int, ...]
    prepare: Callable[[Path, Path], None]
    """Fills a folder; the second path is that of the data."""


WORKS: Mapping[str, Work] = {
    "translation-marian": Work(
        TRANSLATION,
        "6+6 layers, width 512, 58,101 tokens, random weights; 25 tokens in, 32 out, greedy",
        "tokens/s",
        sentences.NEW_TOKENS,
        (1, 8, 32, 64),
        sentences.prepare_marian,
    ),
    "translation-shipped": Work(
        TRANSLATION,
        "the shipped translation model, sentences of about 25 tokens in, 32 out, greedy",
        "tokens/s",
        sentences.NEW_TOKENS,
        (1, 8, 32, 64),
        sentences.prepare_shipped,
    ),
    **{
        f"whisper-{name}": Work(
            SPEECH,
            f"whole transcriptions of 30 s clips by Whisper {name}: samples in, text out, greedy",
            "ms",
            None,
            (1, 8),
            partial(recordings.prepare, name),
        )
        for name in ("tiny.en", "base")
    },
    "image-classification-vit-tiny-224": Work(
        IMAGE,
        "ViT-tiny/16 at 224 x 224 pixels, random weights, 1,000 classes",
        "images/s",
        1.0,
        (1, 8, 32),
        images.prepare_tiny,
    ),
    "image-classification-shipped": Work(
        IMAGE,
        "the shipped image model, on pictures of the test split",
        "images/s",
        1.0,
        (1, 8, 32),
        images.prepare_shipped,
    ),
}
