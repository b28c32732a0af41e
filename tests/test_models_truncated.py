"""Truncated attention hears its window, layer by layer, and nothing else."""

from dataclasses import replace

import pytest
import torch
from fake_keywords import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.architectures import keyword_transformer, kwt, spectrogram_transformer
from models.architectures.keyword_transformer import STREAMED, STRIDE, KeywordTransformer, Stream
from models.truncated import BEYOND, Window, WindowBias, window_mask

reach = st.integers(0, 3)


@given(window=st.tuples(reach, reach), length=st.integers(1, 8), learned=st.integers(0, 2))
@settings(deadline=None)
def test_a_mask_keeps_what_is_in_the_window(window: Window, length: int, learned: int) -> None:
    mask = window_mask(torch.arange(length), window, learned=learned)[0, 0]
    for query in range(length + learned):
        for key in range(length + learned):
            inside = -window[0] <= key - query <= window[1] and key >= learned
            assert mask[query, key] == (query < learned or inside)


def test_places_that_are_the_same_time_hear_each_other() -> None:
    mask = window_mask(torch.tensor([0, 1, 2, 0, 1, 2]), (1, 0))[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0], [0, 1, 1, 0, 1, 1]] * 2


def test_a_bias_is_a_number_for_each_distance() -> None:
    bias = WindowBias(2, (2, 1))
    torch.nn.init.normal_(bias.table)
    made = bias(6)[0]
    for query in range(6):
        for key in range(6):
            apart = key - query
            expected = bias.table[:, apart + 2] if -2 <= apart <= 1 else torch.full((2,), BEYOND)
            torch.testing.assert_close(made[:, query, key], expected)


def built(window: Window | None, layers: int = 2) -> KeywordTransformer:
    model = keyword_transformer.build(replace(CONFIG, window=window, layers=layers)).eval()
    if window is not None:
        torch.nn.init.normal_(model.bias.table)
    return model


def heard(model: KeywordTransformer, features: Tensor) -> Tensor:
    with torch.no_grad():
        return model.encode(features)


@pytest.mark.parametrize("window", [(0, 0), (3, 0), (2, 1), (1, 3)])
def test_a_position_hears_the_frames_of_its_window_and_no_others(window: Window) -> None:
    model, frames, layers = built(window), 120, 2
    features = torch.randn(1, frames, CONFIG.mels)
    before = heard(model, features)
    for position in (12, 17):
        first = STRIDE * (position - layers * window[0]) - 3
        last = STRIDE * (position + layers * window[1]) + 3
        for frame in range(frames):
            other = features.clone()
            other[:, frame] += 1
            changed = not torch.equal(heard(model, other)[:, position], before[:, position])
            assert changed == (first <= frame <= last), (position, frame)


def test_full_attention_hears_everything() -> None:
    model = built(None)
    features = torch.randn(1, CONFIG.frames, CONFIG.mels)
    other = features.clone()
    other[:, -1] += 1
    assert ((heard(model, features) - heard(model, other)).abs().amax((0, 2)) > 1e-6).all()


@pytest.mark.parametrize("window", [(0, 0), (3, 0), (2, 1)])
def test_a_piece_of_a_stream_is_heard_as_in_the_whole_of_it(window: Window) -> None:
    model = built(window, layers=3)
    stream = Stream(model)
    features = torch.randn(2, 400, CONFIG.mels)
    with torch.no_grad():
        whole = model.head(model.encode(features))
        for start in range(0, 400 - stream.frames, STRIDE * STREAMED):
            piece = features[:, start : start + stream.frames]
            logits, middles = stream(piece)
            assert middles.shape == (2, STREAMED)
            positions = (start + middles[0]) // STRIDE
            torch.testing.assert_close(logits, whole[:, positions], rtol=1e-4, atol=1e-5)


def test_a_stream_loses_no_position_between_two_pieces() -> None:
    model = built((2, 1))
    stream = Stream(model)
    _, middles = stream(torch.zeros(1, stream.frames, CONFIG.mels))
    (told,) = middles.tolist()
    step = STRIDE * STREAMED
    assert told + [step + frame for frame in told] == list(range(told[0], told[0] + 2 * step, 4))


def test_the_same_sound_is_heard_alike_wherever_it_stands() -> None:
    model = built((2, 1))
    features = torch.randn(1, 98, CONFIG.mels)
    later = torch.cat([torch.randn(1, 40, CONFIG.mels), features], 1)
    inside = slice(6, 20)
    shifted = heard(model, later)[:, 10:][:, inside]
    torch.testing.assert_close(shifted, heard(model, features)[:, inside], rtol=1e-4, atol=1e-5)


def test_the_tokens_of_other_audio_models_hear_their_windows_too() -> None:
    models = {
        kwt: replace(kwt.PRESETS["testing"], window=(3, 1)),
        spectrogram_transformer: replace(
            spectrogram_transformer.PRESETS["testing"], window=(1, 0), frames=96
        ),
    }
    for of, config in models.items():
        model = of.build(config).eval()
        reached: list[Tensor] = []
        model.layers[-1].register_forward_hook(
            lambda module, given, out, reached=reached: reached.append(out)
        )
        features = torch.randn(1, config.frames, config.mels)
        other = features.clone()
        other[:, -1] += 1
        with torch.no_grad():
            assert not torch.equal(model(features), model(other))
        changed = (reached[0] != reached[1]).any(dim=(0, 2))
        learned = len(changed) - (98 if of is kwt else config.patches)
        assert changed[:learned].all()
        assert not changed[learned]
        assert changed[learned:].any()
