"""Whisper: a step over the cache is the whole sequence's position, and the graphs fit the task."""

import pytest
import torch

from models.architectures import whisper
from models.layers import Memory
from service.contract import spec_of

CONFIG = whisper.Config(
    vocab=50, width=32, heads=2, hidden=48, encoder_layers=2, decoder_layers=2,
    mels=8, frames=20, max_len=12,
)  # fmt: skip


@pytest.fixture
def model() -> whisper.Whisper:
    torch.manual_seed(3)
    return whisper.build(CONFIG).eval()


def caches(batch: int) -> list[Memory]:
    """Empty caches, with numbers in them that nothing may read."""
    shape = (batch, CONFIG.heads, CONFIG.max_len, CONFIG.width // CONFIG.heads)
    return [(torch.full(shape, 7.0), torch.full(shape, -7.0)) for _ in range(2)]


@torch.no_grad()
def test_steps_give_the_logits_of_the_whole_sequence(model: whisper.Whisper) -> None:
    features, target = torch.randn(3, 8, 20), torch.randint(50, (3, 9))
    whole = model(features, target)
    memories, cache = model.encode(features), caches(3)
    for position in range(9):
        tokens = target[:, position : position + 1]
        logits, _, cache = model.step(tokens, torch.full((3,), position), memories, cache)
        torch.testing.assert_close(logits, whole[:, position])


@torch.no_grad()
def test_rows_with_different_pasts_share_a_step(model: whisper.Whisper) -> None:
    features, target = torch.randn(2, 8, 20), torch.randint(50, (2, 6))
    whole = model(features, target)
    memories, cache = model.encode(features), caches(2)
    for position in range(4):
        # The second row waits at its first position.
        past = torch.tensor([position, 0])
        tokens = target[torch.arange(2), past][:, None]
        logits, _, cache = model.step(tokens, past, memories, cache)
    torch.testing.assert_close(logits[0], whole[0, 3])
    torch.testing.assert_close(logits[1], whole[1, 0])


@torch.no_grad()
def test_a_position_sees_no_later_token(model: whisper.Whisper) -> None:
    features, target = torch.randn(1, 8, 20), torch.randint(50, (1, 9))
    changed = target.clone()
    changed[0, 5] = (target[0, 5] + 1) % 50
    before, after = model(features, target), model(features, changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


@torch.no_grad()
def test_every_frame_is_heard(model: whisper.Whisper) -> None:
    features, target = torch.randn(1, 8, 20), torch.randint(50, (1, 2))
    whole = model(features, target)
    for frame in range(20):
        changed = features.clone()
        changed[0, :, frame] += 1
        assert not torch.allclose(model(changed, target), whole, atol=1e-6)


@torch.no_grad()
def test_groups_of_one_position_each_change_nothing(model: whisper.Whisper) -> None:
    features = torch.randn(2, 8, 20)
    whole, folded = model.encode(features), model.encode(features, torch.arange(10))
    for wanted, found in zip(whole, folded, strict=True):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_a_group_has_one_key_and_one_value(model: whisper.Whisper) -> None:
    features, begins = torch.randn(2, 8, 20), torch.tensor([0, 1, 2, 3, 4, 8])
    whole, folded = model.encode(features), model.encode(features, begins)
    for (_, wanted), (key, value) in zip(whole, folded, strict=True):
        assert value.shape == wanted.shape
        for tensor in (key, value):
            assert (tensor[:, :, 4:8] == tensor[:, :, 4:5]).all()
            assert (tensor[:, :, 8:] == tensor[:, :, 8:9]).all()
            assert not torch.allclose(tensor[:, :, 3], tensor[:, :, 4])


def test_encoder_positions_are_part_of_a_checkpoint(model: whisper.Whisper) -> None:
    assert model.state_dict()["encoder_positions"].shape == (10, 32)
    assert "encoder_positions" not in dict(model.named_parameters())


@pytest.mark.parametrize("preset", ["tiny.en", "base"])
def test_presets_have_the_published_number_of_parameters(preset: str) -> None:
    with torch.device("meta"):
        model = whisper.build(whisper.PRESETS[preset])
    # Radford et al. 2022, table 1, in millions; ours has the zero biases of the keys as well.
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert parameters == pytest.approx({"tiny.en": 39, "base": 74}[preset], rel=0.06)


def test_a_toy_set_is_learned(model: whisper.Whisper) -> None:
    torch.manual_seed(0)
    target = torch.randint(50, (4, 6))
    batch = {"features": torch.randn(4, 8, 20), "target": target[:, :-1], "labels": target[:, 1:]}
    with torch.no_grad():
        before = whisper.score(model, batch)
    assert before["count"] == 20
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        loss = whisper.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = whisper.score(model, batch)
    assert after["correct"] == 20
    assert after["loss"] < before["loss"] / 4


@torch.no_grad()
def test_labels_that_are_ignored_do_not_count(model: whisper.Whisper) -> None:
    target = torch.randint(50, (2, 4))
    labels = target.clone()
    labels[1] = whisper.IGNORE
    batch = {"features": torch.randn(2, 8, 20), "target": target, "labels": labels}
    assert whisper.score(model, batch)["count"] == 4


@torch.no_grad()
def test_graphs_take_and_give_what_the_contract_says() -> None:
    config = whisper.PRESETS["testing"]
    for graph in whisper.graphs(whisper.build(config).eval()):
        for case in graph.cases:
            inputs = graph.inputs(**case)
            outputs = dict(zip(graph.outputs, graph.module(*inputs.values()), strict=True))
            for specs, tensors in (
                (graph.contract.inputs, inputs),
                (graph.contract.outputs, outputs),
            ):
                for name, tensor in tensors.items():
                    spec = spec_of(name, specs)
                    assert spec is not None, name
                    assert str(tensor.dtype) == f"torch.{spec.dtype}"
                    fixed = [
                        (size, axis)
                        for size, axis in zip(tensor.shape, spec.axes, strict=True)
                        if isinstance(axis, int)
                    ]
                    assert all(size == axis for size, axis in fixed)


@torch.no_grad()
def test_encoder_outputs_are_the_decoders_inputs() -> None:
    config = whisper.PRESETS["testing"]
    encoder, _, decoder, _ = whisper.graphs(whisper.build(config).eval())
    features = encoder.inputs(batch=1)
    encoded = dict(zip(encoder.outputs, encoder.module(*features.values()), strict=True))
    inputs = decoder.inputs(batch=1, src_len=config.src_len, past_len=2, max_len=5)
    assert {name: encoded[name].shape for name in encoded} == {
        name: tensor.shape for name, tensor in inputs.items() if name.startswith("cross_")
    }
    assert len(encoded) == 2 * config.decoder_layers
