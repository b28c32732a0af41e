"""cross-attention of a text to its window → when each of its tokens was heard.

Source: openai/whisper, whisper/timing.py: some heads of the decoder listen where the next token is
spoken. Their weights, held against what is usual at each place of the recording, freed of lone
peaks and averaged, make a map of text and time; the way through it that collects the most weight
and never goes back says when each token begins.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray

from service.decoder import Pass
from service.speech.assets import Assets
from service.transcript import TIMESTAMP_S

GRAPH = "alignment"
MEDIAN = 7
"""Frames of 20 ms, as in the reference."""


def passage(
    features: Float32[ndarray, "mels frames"],
    prompt: Sequence[int],
    text: Sequence[int],
    assets: Assets,
) -> Pass:
    """The run of the graph that hears a text once more, without timestamps."""
    start = prompt.index(assets.start)
    asked = [token for token in prompt[start:] if token != assets.no_timestamps]
    tokens = [*asked, assets.no_timestamps, *text, assets.end]
    return Pass(GRAPH, {"features": features, "tokens": np.array(tokens, np.int64)})


def token_times(
    weights: Float[ndarray, "heads positions src_len"], *, text: int, duration_s: float
) -> Float[ndarray, " text_and_end"]:
    """Seconds of the window at which each of the last `text` tokens begins, and the last one ends.

    `weights` end with those at the text's last token and at the token that ends it, which foretells
    nothing; before them are those at the prompt.
    """
    frames = max(1, min(round(duration_s / TIMESTAMP_S), weights.shape[2]))
    maps = [smoothed(standing_out(head[:, :frames])[-text - 2 : -1]) for head in weights]
    return path(-np.mean(maps, axis=0)) * TIMESTAMP_S


def listened(
    weights: Float[ndarray, "heads positions src_len"], *, text: int, offset: int
) -> Float[ndarray, "heads text src_len"]:
    """Where each head listens for each of the last `text` tokens, of a window heard from a place
    of its encoded frames on, which is `offset`."""
    out: Float[ndarray, "heads text src_len"] = np.zeros_like(weights[:, :text])
    out[..., offset:] = weights[:, -text - 2 : -2, : out.shape[2] - offset]
    return out


def standing_out(
    weights: Float[ndarray, "positions src_len"],
) -> Float[ndarray, "positions src_len"]:
    """Each position's share of what it hears less the mean of all positions, in standard
    deviations of them."""
    heard = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    spread = heard.std(axis=0)
    out: Float[ndarray, "positions src_len"] = np.zeros_like(heard)
    np.divide(heard - heard.mean(axis=0), spread, out, where=spread > 0)
    return out


def smoothed(weights: Float[ndarray, "positions src_len"]) -> Float[ndarray, "positions src_len"]:
    """The median of each frame and its neighbours, mirrored at both ends."""
    reach = MEDIAN // 2
    if weights.shape[1] <= reach:
        return weights
    wide = np.pad(weights, ((0, 0), (reach, reach)), mode="reflect")
    near = np.lib.stride_tricks.sliding_window_view(wide, MEDIAN, axis=1)
    middle: Float[ndarray, "positions src_len"] = np.partition(near, reach, axis=2)[..., reach]
    return middle


def path(cost: Float[ndarray, "rows src_len"]) -> Int[ndarray, " rows"]:
    """Dynamic time warping: the frame at which the cheapest way from corner to corner comes to
    each row.

    It goes a row down, a frame on, or both at once. All cells of a diagonal are independent.
    """
    rows, frames = cost.shape
    came = np.zeros((rows + frames + 1, rows + 1), np.int8)
    before, last = np.full(rows + 1, np.inf), np.full(rows + 1, np.inf)
    before[0] = 0.0
    for diagonal in range(2, rows + frames + 1):
        row = np.arange(max(1, diagonal - frames), min(rows, diagonal - 1) + 1)
        both, down, on = before[row - 1], last[row - 1], last[row]
        way = np.where((both < down) & (both < on), 0, np.where((down < both) & (down < on), 1, 2))
        here = np.full(rows + 1, np.inf)
        here[row] = cost[row - 1, diagonal - row - 1] + np.choose(way, (both, down, on))
        came[diagonal, row] = way
        before, last = last, here
    first = np.zeros(rows, np.int64)
    row, frame = rows, frames
    while row > 0 and frame > 0:
        first[row - 1] = frame - 1
        way = came[row + frame, row]
        row, frame = row - (way != 2), frame - (way != 1)
    return first
