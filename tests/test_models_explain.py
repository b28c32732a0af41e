"""What a model tells of its attention is what it attended with, and telling changes nothing."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import elu

from models import linear_attention
from models.architectures import (
    keyword_transformer,
    kwt,
    spectrogram_transformer,
    swin,
    vit,
    wav2vec2,
)
from models.attention import attend, attention_weights, join_heads
from models.catalogue import architecture
from models.explain import by_head, mean_of_first, rollout, watching
from models.layers import CrossAttention, DecoderLayer, EncoderLayer, SelfAttention

PATCHES = vit.PRESETS["testing"]
VITS = {
    "class token": PATCHES,
    "two tokens": replace(PATCHES, pooling="distilled"),
    "class and mean": replace(PATCHES, pooling="class-and-mean"),
    "pooling": replace(PATCHES, stem=(8, 16), patch=2, pooling="attention"),
    "mirrored": replace(PATCHES, pooling="attention", mirrored=True),
}
SOUNDS = {
    "keyword_transformer": keyword_transformer,
    "kwt": kwt,
    "spectrogram_transformer": spectrogram_transformer,
}

TRANSLATORS = {
    "transformer": (2, 2),
    "universal_transformer": (3, 2),
    "linear_attention": (2, 2),
    "seq2seq_attention": (1, 1),
}
"""Layers, or steps, and heads."""


@pytest.mark.parametrize("mask", ["none", "kept", "added", "causal"])
def test_the_weights_are_what_attend_multiplies_the_values_with(mask: str) -> None:
    query, key, value = torch.randn(3, 2, 3, 5, 8)
    kept = torch.rand(2, 1, 5, 5) < 0.6
    kept[..., 0] = True
    masks: dict[str, Any] = {"kept": kept, "added": torch.randn(1, 3, 5, 5)}
    given = {"mask": masks.get(mask), "causal": mask == "causal"}
    weights = attention_weights(query, key, **given)
    torch.testing.assert_close(weights @ value, attend(query, key, value, **given))


def test_every_attention_is_seen_with_the_weights_of_its_call() -> None:
    layer = DecoderLayer(16, 2, 32, 0.0).eval()
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    keys_values = layer.cross_attention.keys_values(memory)
    with watching(layer) as seen:
        layer(x, memory=keys_values)
        layer(x[:, :3], memory=keys_values)
    assert [tuple(weights.shape) for weights in seen] == [
        (2, 2, 5, 5), (2, 2, 5, 7), (2, 2, 3, 3), (2, 2, 3, 7),
    ]  # fmt: skip
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    assert not seen[0][..., later].any(), "the decoder attends to what is to come"
    for weights in seen:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_nothing_is_seen_of_other_kinds_or_once_it_is_over() -> None:
    layer = EncoderLayer(16, 2, 32, 0.0).eval()
    x = torch.randn(1, 4, 16)
    with watching(layer, CrossAttention) as crossed:
        layer(x)
    with pytest.raises(RuntimeError), watching(layer, SelfAttention) as seen:
        layer(x[..., :3])
    with watching(layer, SelfAttention) as seen:
        layer(x)
    layer(x)
    assert (len(crossed), len(seen)) == (0, 1)
    assert not any(module._forward_hooks for module in layer.modules())


def test_rollout_is_the_product_of_the_papers_matrices() -> None:
    layers = [torch.rand(2, 3, 6, 6).softmax(-1) for _ in range(4)]
    read = torch.rand(2, 6).softmax(-1)
    flow = torch.eye(6).expand(2, 6, 6)
    for weights in layers:
        flow = (0.5 * weights.mean(1) + 0.5 * torch.eye(6)) @ flow
    torch.testing.assert_close(rollout(layers, read), (read[:, None] @ flow)[:, 0])


def test_a_head_is_shown_as_it_is_where_one_position_is_read() -> None:
    layers = [torch.rand(2, 3, 6, 6).softmax(-1) for _ in range(4)]
    shown = by_head(layers, mean_of_first(1, layers))
    torch.testing.assert_close(shown, torch.stack([weights[:, :, 0] for weights in layers], 1))


def shares(tensor: Tensor) -> None:
    """Of a picture or recording: they add up to 1."""
    torch.testing.assert_close(tensor.flatten(1).sum(1), torch.ones(len(tensor)))


@pytest.mark.parametrize("config", VITS.values(), ids=VITS)
@torch.inference_mode()
def test_a_picture_is_explained_by_its_patches(config: vit.Config) -> None:
    model = vit.build(config).eval()
    pixels = torch.randn(3, 3, 32, 32)
    logits, maps, heads = model.explain(pixels)
    torch.testing.assert_close(logits, model(pixels))
    side = int(config.patches**0.5)
    assert maps.shape == (3, side, side)
    assert heads.shape == (3, config.layers, config.heads, side, side)
    shares(maps)
    assert (heads.flatten(3).sum(-1) <= 1 + 1e-5).all()
    torch.testing.assert_close(model.explain(pixels[1:2])[1], maps[1:2])


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("shift", [0, 2])
@torch.inference_mode()
def test_a_window_looks_at_what_is_in_it(shift: int, side: int) -> None:
    attention = swin.WindowAttention(8, 2, side=side, window=4, shift=shift)
    x = torch.randn(3, side, side, 8)
    weights = attention.attention_weights(x)
    *_, value = attention.project(attention.cut(x))
    expected = attention.back(attention.out(join_heads(weights @ value)))
    torch.testing.assert_close(attention(x), expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    read = torch.zeros(3, side, side, 2)
    read[1, 0, 3] = 1
    looked = attention.looked(read, weights)
    # The windows of a picture stand behind those of the one before; so do places in a window.
    row, column = -shift % 8 if shift else 0, (3 - shift) % 8
    window, place = 4 + row // 4 * 2 + column // 4, row % 4 * 4 + column % 4
    for each in range(16):
        seen = (window - 4) // 2 * 4 + each // 4 + shift, (window - 4) % 2 * 4 + each % 4 + shift
        there = seen[0] % 8, seen[1] % 8
        if max(there) < side:
            torch.testing.assert_close(looked[1][there], weights[window, :, place, each])
    assert not looked[[0, 2]].any()
    if side == 8:
        torch.testing.assert_close(looked.sum((1, 2))[1], torch.ones(2))


@pytest.mark.parametrize("side", [32, 28])
@torch.inference_mode()
def test_stages_of_windows_tell_the_patches(side: int) -> None:
    config = replace(swin.PRESETS["testing"], side=side)
    model = swin.build(config).eval()
    pixels = torch.randn(2, 3, side, side)
    logits, maps, heads = model.explain(pixels)
    torch.testing.assert_close(logits, model(pixels))
    assert maps.shape == (2, side // 4, side // 4)
    assert heads.shape == (2, 2, 4, 4, 4)
    shares(maps)
    torch.testing.assert_close(heads.sum((3, 4)), torch.ones(2, 2, 4))
    torch.testing.assert_close(model.explain(pixels[1:])[1], maps[1:])


@torch.inference_mode()
def test_the_map_of_a_mirrored_picture_is_mirrored() -> None:
    model = vit.build(VITS["mirrored"]).eval()
    pixels = torch.randn(2, 3, 32, 32)
    _, maps, heads = model.explain(pixels)
    _, mirrored_maps, mirrored_heads = model.explain(pixels.flip(3))
    torch.testing.assert_close(mirrored_maps, maps.flip(-1))
    torch.testing.assert_close(mirrored_heads, heads.flip(-1))


@torch.inference_mode()
def test_a_map_is_where_the_picture_is() -> None:
    """Keys that grow with brightness: what is attended to is where the light is."""
    model = vit.build(PATCHES).eval()
    width = PATCHES.width
    for layer in model.layers:
        attention: Any = layer.self_attention
        torch.nn.init.zeros_(attention.query_key_value.weight)
        torch.nn.init.ones_(attention.query_key_value.bias)
        attention.query_key_value.weight[width : 2 * width] = 4 * torch.eye(width)
        layer.self_attention_norm = torch.nn.Identity()
    torch.nn.init.ones_(model.tokens.weight)
    model.positions.zero_()
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[:, :, 8:16, 24:32] = 0.1
    _, maps, heads = model.explain(pixels)
    brightest = torch.zeros(4, 4, dtype=torch.bool)
    brightest[1, 3] = True
    assert (maps[0][brightest] > maps[0][~brightest].max()).all()
    assert heads[0, 0, 0].argmax() == brightest.flatten().long().argmax()


@pytest.mark.parametrize("of", SOUNDS.values(), ids=SOUNDS)
@torch.inference_mode()
def test_a_recording_is_explained_by_its_places_in_time(of: Any) -> None:
    config = of.PRESETS["testing"]
    model = of.build(config).eval()
    features = torch.randn(2, config.frames, config.mels)
    logits, maps, heads = model.explain(features)
    torch.testing.assert_close(logits, model(features))
    shares(maps)
    assert heads.shape == (2, config.layers, config.heads, maps.shape[1])


def translator(name: str) -> Any:
    """A model of random weights; of its tokens, some halt early if it has them halt."""
    torch.manual_seed(3)
    of = architecture(name)
    halting = {"halting_threshold": 0.8} if name == "universal_transformer" else {}
    model: Any = of.build(replace(of.presets["testing"], **halting)).eval()
    for part in (model.source_halting, model.target_halting) if halting else ():
        torch.nn.init.constant_(part.bias, -0.5)
        part.weight.data.mul_(5)
    return model


@pytest.mark.parametrize(("head", "weighted"), [("ctc", False), ("waveform", True)])
@torch.inference_mode()
def test_samples_are_explained_by_their_frames_and_nothing_behind_them(
    head: Literal["ctc", "waveform"], weighted: bool
) -> None:
    config = replace(wav2vec2.PRESETS["testing"], head=head, weighted=weighted)
    model = wav2vec2.build(config).eval()
    samples, lengths = torch.randn(2, 1_600), torch.tensor([1_600, 900])
    samples[1, 900:] = 0
    logits, maps, heads, frames = model.explain(samples, lengths)
    torch.testing.assert_close(logits, model(samples, lengths))
    assert frames.tolist() == [config.frames(1_600), config.frames(900)]
    shares(maps)
    assert not maps[1, frames[1] :].any()
    torch.testing.assert_close(heads.sum(-1), torch.ones(2, config.layers, config.heads))
    _, alone, alone_heads, _ = model.explain(samples[1:, :900], lengths[1:])
    torch.testing.assert_close(maps[1:, : frames[1]], alone)
    torch.testing.assert_close(heads[1:, ..., : frames[1]], alone_heads)


@pytest.mark.parametrize("name", TRANSLATORS)
@torch.inference_mode()
def test_a_translation_is_explained_by_its_source_and_nothing_behind_it(name: str) -> None:
    model = translator(name)

    def explained(*given: Tensor) -> tuple[Tensor, Tensor]:
        """Weights, and where there are any: of a position that has not halted."""
        found = model.explain(*given)
        if isinstance(found, Tensor):
            return found, torch.ones(found.shape[:-1], dtype=torch.bool)
        weights, _, steps = found
        depths = torch.arange(weights.shape[1])[:, None, None]
        return weights, (depths < steps[:, None, None]).expand(weights.shape[:-1])

    source, target = torch.randint(64, (2, 9)), torch.randint(64, (2, 6))
    lengths = torch.tensor([9, 4])
    weights, told = explained(source, lengths, target)
    layers, heads = TRANSLATORS[name]
    assert weights.shape == (2, layers, heads, 6, 9)
    torch.testing.assert_close(weights.sum(-1), told.float())
    assert not weights[1, ..., 4:].any(), "padding is attended to"
    shorter, _ = explained(source[1:, :4], lengths[1:], target[1:, :3])
    torch.testing.assert_close(weights[1:, :, :, :3, :4], shorter)


@torch.inference_mode()
def test_an_alignment_is_what_the_recurrent_decoder_looks_at() -> None:
    model = translator("seq2seq_attention")
    source, target, lengths = torch.randint(64, (2, 9)), torch.randint(64, (2, 6)), [9, 4]
    seen = []

    def note(attention: Any, given: Any, context: Tensor) -> None:
        state, keys, annotations, keep = given
        weights = torch.stack([
            attention.score(torch.tanh(attention.query(state) + keys[:, place]))[:, 0]
            for place in range(keys.shape[1])
        ], dim=1).masked_fill(~keep, -torch.inf).softmax(1)  # fmt: skip
        torch.testing.assert_close((weights[:, :, None] * annotations).sum(1), context)
        seen.append(weights)

    model.attention.register_forward_hook(note)
    model(source, torch.tensor(lengths), target)
    naive = torch.stack(seen, dim=1)
    weights = model.explain(source, torch.tensor(lengths), target)
    torch.testing.assert_close(weights[:, 0, 0], naive)


@torch.inference_mode()
def test_linear_attention_tells_the_weights_that_its_sums_hide() -> None:
    query, key, value = torch.randn(3, 2, 3, 5, 8)
    keep = torch.tensor([[True] * 5, [True, True, False, True, False]])[:, None, :, None]
    products = ((elu(query) + 1) @ (elu(key) + 1).mT).masked_fill(~keep.mT, 0)
    weights = linear_attention.attention_weights(query, key, keep=keep)
    torch.testing.assert_close(weights, products / products.sum(-1, keepdim=True))
    sums = linear_attention.summed(key, value, keep=keep)
    torch.testing.assert_close(weights @ value, linear_attention.attend(query, sums))


@torch.inference_mode()
def test_linear_alignments_weigh_the_values_as_the_decoder_does() -> None:
    model = translator("linear_attention")
    given = torch.randint(64, (2, 9)), torch.tensor([9, 4]), torch.randint(64, (2, 6))
    memory, _ = model.read(*given[:2])
    outputs: list[Tensor] = []
    for layer in model.decoder:
        layer.cross_attention.register_forward_hook(lambda _, __, out: outputs.append(out))
    model(*given)
    for number, layer in enumerate(model.decoder):
        cross = layer.cross_attention
        weighed = model.explain(*given)[:, number] @ cross.keys_values(memory)[1]
        torch.testing.assert_close(cross.out(join_heads(weighed)), outputs[number])


@torch.inference_mode()
def test_a_token_attends_at_each_step_until_it_halts() -> None:
    model = translator("universal_transformer")
    given = torch.randint(64, (2, 9)), torch.tensor([9, 4]), torch.randint(64, (2, 6))
    with watching(model.decoder, CrossAttention) as seen:
        of_source, of_target = model.thoughts(*given)
    weights, source_steps, target_steps = model.explain(*given)
    assert target_steps.min() < target_steps.max() == len(seen)
    assert torch.equal(source_steps, of_source.steps)
    assert torch.equal(target_steps, of_target.steps)
    for step, at_step in enumerate(seen):
        running = (step < target_steps)[:, None, :, None]
        torch.testing.assert_close(weights[:, step], torch.where(running, at_step, 0))
