"""works, and a folder each → weights in every peer's format, inputs and the reference outputs."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests.peers import images, recordings, sentences
from loadtests.peers.peer import IMAGE, SPEECH, TRANSLATION

ROOT = Path(__file__).parents[2]
DECIDE = (
    "export/*.py",
    "models/*.py",
    "models/architectures/*.py",
    "models/families/*.py",
    "loadtests/peers/opus_mt.py",
    "models/weights/*/manifest.json",
    *(f"loadtests/peers/{name}.py" for name in ("ggml", "hugging_face", "lowered", "shipped")),
    *(f"loadtests/peers/{name}.py" for name in ("images", "recordings", "sentences")),
)
"""Files that what is prepared depends on."""
PREPARED = "prepared.txt"


def fingerprint() -> str:
    """Digest of those files: another one means that what was prepared is out of date."""
    files = sorted(path for pattern in DECIDE for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


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

    def ready(self, folder: Path, data_dir: Path) -> bool:
        """Prepare unless that is done; returns whether there was something to do."""
        stamp = folder / PREPARED
        if stamp.exists() and stamp.read_text() == fingerprint():
            return False
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.prepare(folder, data_dir)
        stamp.write_text(fingerprint())
        return True


WORKS: Mapping[str, Work] = {
    "translation-marian": Work(
        TRANSLATION,
        "6+6 layers, width 512, 58,101 tokens, random weights; 25 tokens in, 32 out, greedy",
        "tokens/s",
        sentences.NEW_TOKENS,
        (1, 8, 32, 64),
        sentences.prepare_marian,
    ),
    "translation-imported": Work(
        TRANSLATION,
        "an imported MarianMT checkpoint: 6+6 layers, width 512, 58,101 tokens, random weights; "
        "25 tokens in, 32 out, greedy",
        "tokens/s",
        sentences.NEW_TOKENS,
        (1, 8, 32, 64),
        sentences.prepare_imported,
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
