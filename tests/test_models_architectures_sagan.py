"""The self-attention GAN: each player learns its own part, and the average is what is served."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.architectures import sagan
from models.catalogue import architecture
from models.recipe import Recipe
from models.train import train
from service.tasks.unconditional_image_generation import NOISE

CONFIG = sagan.PRESETS["testing"]
RECIPE = Recipe(
    preset="testing",
    dataset="stripes",
    steps=4,
    learning_rate=1e-3,
    data={"batch_size": 16},
    bf16=False,
    evaluate_every_steps=2,
)


def made(**changes: Any) -> sagan.Sagan:
    return sagan.build(replace(CONFIG, **changes))


def batch(size: int = 6) -> dict[str, torch.Tensor]:
    return {
        "pixels": torch.rand(size, 1, 8, 8) * 2 - 1,
        "labels": torch.arange(size) % CONFIG.classes,
    }


def felt(part: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.grad for weight in part.parameters() if weight.grad is not None]


def test_each_weight_feels_its_own_players_loss_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    sagan.loss(model, batch()).backward()
    judge = [grad.clone() for grad in felt(model.discriminator)]
    assert any(grad.abs().sum() > 0 for grad in felt(model.generator))
    assert any(grad.abs().sum() > 0 for grad in judge)
    assert not felt(model.average)
    # Without the generator's part of the loss, the judge learns the same.
    torch.manual_seed(0)
    alone = made()
    alone.load_state_dict(model.state_dict())
    frozen = sagan.functional_call
    monkeypatch.setattr(sagan, "functional_call", lambda *given: frozen(*given).detach() * 0)
    alone.zero_grad()
    sagan.loss(alone, batch()).backward()
    assert not any(grad.abs().sum() > 0 for grad in felt(alone.generator))


def test_no_matrix_of_either_player_enlarges_what_it_takes() -> None:
    model = made().train()
    for _ in range(20):  # the power iteration goes on at every look
        model.generator(torch.randn(2, NOISE), torch.tensor([0, 1]))
        model.discriminator(torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))
    normed = [
        module.weight.flatten(1)
        for player in (model.generator, model.discriminator)
        for module in player.modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert len(normed) > 12
    for matrix in normed:
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.1)


def test_the_average_follows_the_generator() -> None:
    model = made()
    before = {name: tensor.clone() for name, tensor in model.average.state_dict().items()}
    with torch.no_grad():
        model.generator.norm.gain.weight += 1
        model.generator.norm.norm.running_mean += 3
    model.follow(momentum=0.75)
    after = model.average.state_dict()
    torch.testing.assert_close(after["norm.gain.weight"], before["norm.gain.weight"] + 0.25)
    mean = "norm.norm.running_mean"
    torch.testing.assert_close(after[mean], before[mean] + 3)


def test_attention_lets_every_place_see_every_other() -> None:
    attention = sagan.SelfAttention(16)
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(attention(x), x), "it begins as if it were not there"
    torch.nn.init.ones_(attention.scale)
    changed = x.clone()
    changed[..., 3, 3] += 5
    apart = (attention(x) - attention(changed)).abs().amax(1)
    assert (apart > 1e-4).all()


@torch.inference_mode()
def test_it_tells_how_much_each_place_is_looked_at() -> None:
    model = made().average.eval()
    attention, noise = model.attention, torch.randn(3, NOISE)
    assert isinstance(attention, sagan.SelfAttention)
    torch.nn.init.ones_(attention.scale)
    shown: list[torch.Tensor] = []
    attention.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    pixels, attended = model.explain(noise, torch.arange(3))
    torch.testing.assert_close(pixels, model(noise, torch.arange(3)))
    (x, _) = shown
    query = attention.query(x).flatten(2)
    key = torch.nn.functional.max_pool2d(attention.key(x), 2).flatten(2)
    weights = (query.mT @ key / query.shape[1] ** 0.5).softmax(-1)
    torch.testing.assert_close(attended.flatten(1), weights.mean(1))
    torch.testing.assert_close(attended.sum((1, 2)), torch.ones(3))
    # Whatever lights up a place that is looked at is seen everywhere.
    value = torch.nn.functional.max_pool2d(attention.value(x), 2).flatten(2)
    seen = attention.out((value @ weights.mT).unflatten(2, x.shape[2:]))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(attention(x), x + seen)


def test_a_class_changes_the_picture_that_noise_becomes() -> None:
    model = made().eval()
    for module in model.average.modules():
        if isinstance(module, sagan.ClassNorm):
            torch.nn.init.normal_(module.bias.weight)
    noise = torch.randn(1, NOISE).expand(3, -1)
    pictures = model(noise, torch.arange(3))
    assert pictures.shape == (3, 1, 8, 8)
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3
    assert pictures.abs().max() <= 1


def test_the_discriminator_learns_to_tell_noise_from_a_plain_picture() -> None:
    model = made()
    plain = {"pixels": torch.full((16, 1, 8, 8), 0.8), "labels": torch.zeros(16, dtype=torch.int64)}
    (stepper,) = sagan.optimizers(model, RECIPE)
    for _ in range(30):
        stepper.zero_grad()
        sagan.loss(model, plain).backward()
        stepper.step()
    sums = sagan.score(model.eval(), plain)
    assert sums["count"] == 32
    assert sums["correct"] >= 16


def test_the_discriminator_is_the_faster_learner() -> None:
    (stepper,) = sagan.optimizers(made(), RECIPE)
    assert [group["pace"] for group in stepper.param_groups] == [1.0, 2.0]


@pytest.mark.parametrize("attending", [True, False])
def test_the_graph_is_that_of_the_average(attending: bool) -> None:
    config = replace(CONFIG, attending=attending)
    model = sagan.build(config).eval()
    graph, *aside = sagan.graphs(model)
    assert graph.module is model.average
    assert [each.name for each in aside] == ["attention"] * attending
    stated = sagan.attentions(config)
    assert stated["model"].whole == int(attending)
    assert stated.keys() == {graph.name, *(each.name for each in aside)}
    for case in graph.cases:
        inputs = graph.inputs(**case)
        assert list(inputs) == list(graph.contract.inputs)
        assert graph.module(*inputs.values()).shape == (case["batch"], 1, 8, 8)


def test_a_run_that_was_broken_off_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    config = sagan.Config(classes=3, width=8, channels=3, least_side=8, momentum=0.5)
    of = replace(architecture("sagan"), presets={"testing": config})
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    train(of, RECIPE, data_dir=tmp_path, run_dir=unbroken)
    train(of, RECIPE, data_dir=tmp_path, run_dir=resumed, stop_after_steps=2)
    train(of, RECIPE, data_dir=tmp_path, run_dir=resumed, resume=True)
    first, second = (checkpoint.read(folder)["model"] for folder in (unbroken, resumed))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_the_shipped_size_stays_within_two_million_parameters() -> None:
    with torch.device("meta"):
        model = sagan.Generator(sagan.PRESETS["garments"])
    assert sum(parameter.numel() for parameter in model.parameters()) <= 2_000_000
