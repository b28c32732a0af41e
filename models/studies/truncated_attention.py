"""keyword transformers that hear less around a moment → their accuracy, and how late they are.

All see the same clips in the same order for as many steps; only the window of attention changes. In
live streams, made of the test clips with pauses between them, each keyword is to be told once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray

from models.architectures.keyword_transformer import STREAMED, STRIDE, Stream
from models.catalogue import recipes
from models.datasets import speech_commands, write_labels
from models.datasets.speech_commands import CLASSES, Clips, read_clips
from models.plot import plot_lines
from models.sizes import parameters
from models.studies import table as markdown
from models.studies import trained
from models.train import evaluate
from models.truncated import Window
from service.live.events import KeywordEvent
from service.live.incoming import Bounds, Incoming
from service.live.keywords import FRAME_SAMPLES, Hearing, KeywordSession
from service.tasks import Item, Row
from service.tasks.audio_classification import HOP_SAMPLES, RATE_HZ

WINDOWS: Sequence[Window | None] = ((1, 1), (2, 2), (4, 0), (4, 1), (4, 4), None)
STEPS = 400
PAUSE_S = 0.5
"""Of silence between two clips of a stream."""
CHUNK_BYTES = 1_280
FRAME_MS = 1e3 * HOP_SAMPLES / RATE_HZ


def study(data_dir: Path, runs: Path) -> Mapping[str, Any]:
    """A run for each window, and what each reaches on the test split, whole and in streams."""
    of, recipe = recipes()["audio-classification"]
    recipe = replace(recipe, steps=STEPS)
    runs.mkdir(parents=True, exist_ok=True)
    data, dev, test = (
        speech_commands.load(data_dir, split, run_dir=runs, seed=recipe.seed, options=recipe.data)
        for split in ("train", "dev", "test")
    )
    clips = read_clips(data_dir / "speech_commands", "test")
    rows = []
    for window in WINDOWS:
        run_dir = runs / ("whole" if window is None else "-".join(map(str, window)))
        torch.manual_seed(recipe.seed)
        write_labels(run_dir, CLASSES)
        config = replace(of.presets[recipe.preset], window=window)
        model = trained(of, recipe, config, (data, dev), run_dir)
        row = {
            "window": window,
            "parameters": parameters(model),
            "steps": recipe.steps,
            "accuracy": round(100 * evaluate(of, model, test, recipe)["dev_accuracy"], 1),
        }
        rows.append(row if window is None else row | streamed(Stream(model), window, clips))
    return {"clips_tested": len(clips.labels), "runs": rows}


def streamed(stream: Stream, window: Window, clips: Clips) -> dict[str, Any]:
    """How late a moment is told of, what a second of sound costs, and what is told of a stream."""
    behind = stream.model.config.layers * window[1]
    # From the middle of a position to the end of the last frame that it hears.
    ahead_ms = FRAME_MS * (STRIDE * behind + 3) + 1e3 * FRAME_SAMPLES / 2 / RATE_HZ
    samples, spoken = joined(clips)
    began_s = time.process_time()
    told = asyncio.run(listened(stream, samples))
    cost_s = time.process_time() - began_s
    return {"look_ahead_ms": round(ahead_ms), "step_ms": round(FRAME_MS * STRIDE * STREAMED)} | (
        judged(spoken, told)
        | {"cpu_ms_a_second": round(1e3 * cost_s / (len(samples) / RATE_HZ), 1)}
    )


@dataclass(frozen=True)
class Spoken:
    """A keyword in a stream: from when to when it may be told, and when it has been said."""

    label: str
    start_s: float
    end_s: float
    said_s: float


def said_s(clip: Float32[ndarray, " samples"]) -> float:
    """The end of the last 20 ms that are at most 15 dB under the loudest."""
    power = np.square(clip[: len(clip) // 320 * 320].reshape(-1, 320)).mean(1)
    return float(0.02 * (1 + np.flatnonzero(power >= power.max() / 30)[-1]))


def joined(clips: Clips) -> tuple[Float32[ndarray, " samples"], list[Spoken]]:
    """All clips in a stream with pauses between them, and the keywords in it."""
    pause = np.zeros(int(PAUSE_S * RATE_HZ), np.float32)
    order = np.random.default_rng(0).permutation(len(clips.labels))
    parts, spoken, at_s = [], [], 0.0
    for row in order:
        label = CLASSES[clips.labels[row]]
        length_s = len(clips.samples[row]) / RATE_HZ
        if not label.startswith("_"):
            end_s = at_s + said_s(clips.samples[row])
            spoken.append(Spoken(label, at_s, at_s + length_s, end_s))
        parts += [clips.samples[row], pause]
        at_s += length_s + PAUSE_S
    return np.concatenate(parts), spoken


async def listened(
    stream: Stream, samples: Float32[ndarray, " samples"]
) -> list[tuple[float, KeywordEvent]]:
    """The keywords that are told live, and how much of the stream had come by then, in seconds."""

    async def ask(items: Sequence[Item]) -> Sequence[Row]:
        frames = torch.from_numpy(np.stack([item["frames"] for item in items]))
        with torch.inference_mode():
            logits, middles = stream(frames)
        return [
            {"logits": one, "middles": of}
            for one, of in zip(logits.numpy(), middles.numpy(), strict=True)
        ]

    async def chunks() -> AsyncIterator[bytes]:
        data = (samples.clip(-1, 1) * 32_767).astype("<i2").tobytes()
        for at in range(0, len(data), CHUNK_BYTES):
            yield data[at : at + CHUNK_BYTES]
            while 2 * RATE_HZ * incoming.received_s < at:
                await asyncio.sleep(0)

    incoming = Incoming(Bounds(duration_s=1e6, idle_s=1e6), rate_hz=RATE_HZ, ending=lambda: False)
    session = KeywordSession(ask, Hearing(stream.frames, CLASSES), incoming)
    return [
        (incoming.received_s, event)
        async for event in session.events(chunks())
        if event.type == "keyword"
    ]


def judged(
    spoken: Sequence[Spoken], told: Sequence[tuple[float, KeywordEvent]]
) -> dict[str, float]:
    """Keywords told within their clips, how long after they were said; all else, by the hour."""
    left, delays_s = list(told), []
    for one in spoken:
        for when_s, event in left:
            here = event.start_s < one.end_s and event.end_s > one.start_s
            if here and event.label == one.label:
                delays_s.append(when_s - one.said_s)
                left.remove((when_s, event))
                break
    hours = (spoken[-1].end_s + PAUSE_S) / 3_600
    return {
        "told_share": round(100 * len(delays_s) / len(spoken), 1),
        "median_delay_ms": round(1e3 * median(delays_s)) if delays_s else 0,
        "false_an_hour": round(len(left) / hours),
    }


LIVE = ("told_share", "median_delay_ms", "false_an_hour", "cpu_ms_a_second")


def table(figures: Mapping[str, Any]) -> list[str]:
    """A row for each window."""
    head = ["positions before, behind", "look-ahead, ms", "accuracy of clips, %",
            "keywords told live, %", "after the word, ms", "told wrongly an hour",
            "CPU a second of sound, ms"]  # fmt: skip
    rows = []
    for run in figures["runs"]:
        window = run["window"]
        heard = "all of the second" if window is None else f"{window[0]}, {window[1]}"
        live = [run.get(name, "-") for name in LIVE]
        rows.append((heard, run.get("look_ahead_ms", "-"), f"{run['accuracy']:.1f}", *live))
    return markdown(head, rows)


def draw(figures: Mapping[str, Any], picture: Path) -> None:
    """Accuracy over how long after a moment what is said of it is final."""
    lines: dict[str, list[tuple[float, float]]] = {}
    whole = None
    for run in figures["runs"]:
        if run["window"] is None:
            whole = run["accuracy"]
            continue
        before, behind = run["window"]
        name = "as far before" if before == behind else f"{before} positions before"
        lines.setdefault(name, []).append((run["look_ahead_ms"], run["accuracy"]))
    if whole is not None:
        ends = [run["look_ahead_ms"] for run in figures["runs"] if run["window"] is not None]
        lines["all of the second"] = [(at, whole) for at in (min(ends), max(ends))]
    plot_lines(lines, picture, x="look-ahead, ms", y="test accuracy, %")
