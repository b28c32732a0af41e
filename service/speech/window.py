"""features of one window → its tokens: a search, and further ones where its outcome is no good.

Source: Radford et al. 2022, 4.5, and OpenAI's decoder: a window that is likely silent and unsure
has no text; one whose text repeats itself or is unsure is drawn again, at a higher temperature.
"""

import math
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from service.candidates import log_sum_exp, sampler
from service.decoder import Pass, Way
from service.explanation import MARK
from service.log_mel import HOP, RATE_HZ, later
from service.search import Hypothesis, Logits, Search
from service.speech.alignment import listened, passage, token_times
from service.speech.assets import Assets
from service.speech.folding import begins
from service.speech.left_out import resumed
from service.tasks import Item, Row
from service.transcript import TIMESTAMP_S, loop, unheard

MAX_NEW_TOKENS = 224
"""Tokens of one window; half of what the decoder has positions for, as in OpenAI's decoder."""
NO_SPEECH_PROBABILITY = 0.6
NO_SPEECH_SCORE = -1.0
"""A window is silent if both say so: OpenAI's thresholds."""
SURE_SILENCE_PROBABILITY = 0.9
"""Above this alone: digital silence gives 0.95 and a confident "you", speech at 0 dB SNR 0.3."""
MAX_BANNED = 3
"""Further attempts at a window whose text loops; it is given up after them."""
COMPRESSION_RATIO = 2.4
SCORE = -1.0
"""A text that zlib makes smaller than this, or less likely, is drawn again: OpenAI's thresholds."""
TEMPERATURE_STEP = 0.2
TIMESTAMP_FRAMES = round(TIMESTAMP_S * RATE_HZ / HOP)


def compression_ratio(text: str) -> float:
    """How much smaller zlib makes a text: high for one that repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


@dataclass(frozen=True)
class _Attempt:
    """A text that was found for a window, and how."""

    found: Hypothesis
    offset: int
    """Timestamps into the window at which it begins."""
    temperature: float
    loops: bool
    ratio: float

    @property
    def doubtful(self) -> bool:
        return self.ratio > COMPRESSION_RATIO or self.found.score < SCORE

    @property
    def rank(self) -> tuple[bool, float]:
        return self.ratio <= COMPRESSION_RATIO, self.found.score


def _inputs(item: Item, offset: int, assets: Assets) -> Row:
    """What is encoded of a window from so many timestamps on."""
    features = {"features": later(item["features"], offset * TIMESTAMP_FRAMES)}
    duration_s = float(item["end_s"] - item["start_s"]) - offset * TIMESTAMP_S
    groups = begins(duration_s) if assets.folds else None
    # First: windows of about as many are encoded together.
    return features if groups is None else {"begins": groups, **features}


def _heard(
    kept: Sequence[_Attempt], prompt: Sequence[int], item: Item, assets: Assets
) -> Generator[Pass, Row, Row]:
    """What is asked of the texts' tokens, timestamps not among them: begin and end of each in the
    window, and where each head listens for it."""
    tokens: list[int] = []
    times_s: list[tuple[float, float]] = []
    listening = []
    for attempt in kept:
        text = [token for token in attempt.found.tokens if token < assets.first_timestamp]
        if not text:
            continue
        features = later(item["features"], attempt.offset * TIMESTAMP_FRAMES)
        run = passage(features, prompt, text, assets)
        weights = (yield run)["weights"][:, : len(run.inputs["tokens"])]
        begin_s = attempt.offset * TIMESTAMP_S
        duration_s = float(item["end_s"] - item["start_s"]) - begin_s
        heard_s = begin_s + token_times(weights, text=len(text), duration_s=duration_s)
        times_s += list(pairwise(heard_s.tolist()))
        if MARK in item:
            tokens += text
            listening.append(listened(weights, text=len(text), offset=attempt.offset))
    row: Row = {}
    if "words" in item:
        row["times_s"] = np.array(times_s, np.float32).reshape(-1, 2)
    if listening:
        row |= {"text": np.array(tokens), "weights": np.concatenate(listening, axis=1)}
    return row


def _resumed(chosen: _Attempt, item: Item, duration_s: float, first: int) -> tuple[_Attempt, int]:
    """A text of a window that is all speech, without what stands for speech that it leaves out,
    and the timestamp in the window where that begins, or 0."""
    if "speech" not in item:
        return chosen, 0
    tokens, at = resumed(
        chosen.found.tokens,
        first=first,
        duration_s=duration_s - chosen.offset * TIMESTAMP_S,
        features=later(item["features"], chosen.offset * TIMESTAMP_FRAMES),
    )
    kept = replace(chosen, found=replace(chosen.found, tokens=tokens))
    return kept, chosen.offset + at if at else 0


def generate(item: Item, assets: Assets) -> Way:
    """The tokens of one window, found greedily; none where there is no speech.

    Where a transcript stops short of its window's end, the rest is transcribed too, and its tokens
    are appended with their times moved on. A window whose text loops is transcribed again without
    the token it loops on. Where the item has a `temperature`, texts are drawn at it, and what is
    doubtful is drawn again at a higher one: the same ones every time.

    An item with `speech` is known to be speech to its end: what its text leaves out is transcribed
    too. Where the item has `words`, times of all text tokens are found besides, by another graph.

    A language that is not known is heard behind the start token: in the first window on the way,
    in those that follow by a search of its own.
    """
    first = assets.first_timestamp
    prompt = item["prompt"].tolist()
    start = prompt.index(assets.start)
    lowest = float(item.get("temperature", np.array(math.nan)))
    duration_s = float(item["end_s"] - item["start_s"])
    tokens: list[int] = []
    kept: list[_Attempt] = []
    tried: list[_Attempt] = []
    banned: list[int] = []
    offset = 0
    no_speech = 0.0

    def moved(found: Sequence[int]) -> list[int]:
        return [token + offset * (token >= first) for token in found]

    def standing(certain: list[int]) -> list[int]:
        # What may yet be taken for silence is not shown. A text that loops is, and is taken back.
        return tokens + (moved(certain) if no_speech <= NO_SPEECH_PROBABILITY else [])

    def hear(logits: Logits) -> None:
        nonlocal no_speech
        no_speech = float(np.exp(logits[assets.no_speech] - log_sum_exp(logits[None])[0]))
        if prompt[start + 1 : start + 2] == [assets.start]:
            prompt[start + 1] = assets.language(logits)

    if prompt[start + 1 : start + 2] == [assets.start] and float(item["start_s"]):
        yield Search(
            prompt=[assets.start],
            end=assets.end,
            max_new_tokens=1,
            first=hear,
            inputs={"features": item.get("opening", item["features"])},
            standing=lambda certain: [],
        )

    temperature = lowest
    while True:
        best, *_ = yield Search(
            prompt=prompt,
            end=assets.end,
            max_new_tokens=MAX_NEW_TOKENS,
            rule=assets.rule(prompt, banned),
            first=hear,
            first_at=start,
            draw=sampler(temperature) if temperature > 0 else None,
            inputs=_inputs(item, offset, assets),
            standing=standing,
        )
        unsure = no_speech > NO_SPEECH_PROBABILITY and best.score < NO_SPEECH_SCORE
        if unsure or no_speech > SURE_SILENCE_PROBABILITY:
            break
        looped = loop(best.tokens, first=first)
        if looped is not None and len(banned) < MAX_BANNED:
            banned.append(looped)
            continue
        text = assets.tokenizer.decode([token for token in best.tokens if token < first])
        attempt = _Attempt(best, offset, temperature, looped is not None, compression_ratio(text))
        tried.append(attempt)
        if attempt.doubtful and temperature < 1:
            temperature = min(1.0, temperature + TEMPERATURE_STEP)
            continue
        chosen = max(tried, key=lambda each: each.rank)
        if chosen.loops:
            break
        chosen, left_out = _resumed(chosen, item, duration_s, first)
        kept.append(chosen)
        tried, banned, temperature = [], [], lowest
        tokens += moved(chosen.found.tokens)
        heard = left_out or unheard(tokens, first=first, duration_s=duration_s)
        if heard <= offset:
            break
        offset = heard
    timed = (yield from _heard(kept, prompt, item, assets)) if {"words", MARK} & {*item} else {}
    scored = sum(len(each.found.tokens) + each.found.ended for each in kept)
    return {
        "times_s": np.empty((0, 2), np.float32),
        **timed,
        "tokens": np.array(tokens, np.int64),
        "language": np.array(prompt[start + 1 : start + 2]),
        "no_speech": np.array(no_speech),
        "score": np.array(sum(each.found.log_probability for each in kept) / max(scored, 1)),
        "temperature": np.array(max((each.temperature for each in kept), default=0.0)),
    }
