"""What a model tells of its attention is what it attended with, and telling changes nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.architectures import keyword_transformer, kwt, spectrogram_transformer, transformer, vit
from models.attention import attend, attention_weights
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


@torch.inference_mode()
def test_a_translation_is_explained_by_its_source_and_nothing_behind_it() -> None:
    model = transformer.build(transformer.PRESETS["testing"]).eval()
    source, target = torch.randint(64, (2, 9)), torch.randint(64, (2, 6))
    lengths = torch.tensor([9, 4])
    weights = model.explain(source, lengths, target)
    assert weights.shape == (2, 2, 2, 6, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 2, 6))
    assert not weights[1, ..., 4:].any(), "padding is attended to"
    shorter = model.explain(source[1:, :4], lengths[1:], target[1:, :3])
    torch.testing.assert_close(weights[1:, :, :, :3, :4], shorter)
