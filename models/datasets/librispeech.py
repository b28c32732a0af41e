"""LibriSpeech utterances → transcription requests, for evaluation only."""

import csv
from collections.abc import Iterator
from pathlib import Path

from models.datasets import Example
from service.tasks.automatic_speech_recognition import Request

SOURCE = "https://www.openslr.org/12 (test-other), 50 utterances of 5 speakers"
LICENCE = "CC BY 4.0"


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """One request per utterance; there is a test split only."""
    if split != "test":
        raise ValueError(f"librispeech has no {split} split")
    folder = data_dir / "librispeech_other"
    with (folder / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            audio = (folder / "flac" / f"{row['id']}.flac").read_bytes()
            yield Example("test-other", Request(audio=audio), [row["text"]])
