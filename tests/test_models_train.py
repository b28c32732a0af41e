"""A run that was broken off ends with the very weights of one that was not."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.catalogue import architecture
from models.datasets.reversal import load
from models.optimizers import optimizers
from models.recipe import Recipe
from models.train import learning_rate, prefetched, train

TOY = Recipe(
    preset="testing",
    dataset="reversal",
    data={"batch_size": 4},
    steps=6,
    learning_rate=1e-2,
    warmup_steps=2,
    bf16=False,
    evaluate_every_steps=2,
)


def toy_architecture() -> Any:
    """With dropout, whose random numbers must go on where they were."""
    of = architecture("transformer")
    return replace(of, presets={"testing": replace(of.presets["testing"], dropout=0.2)})


def run(run_dir: Path, **options: Any) -> dict[str, float]:
    return train(toy_architecture(), TOY, data_dir=run_dir, run_dir=run_dir, **options)


def steps_in(run_dir: Path) -> list[int]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_a_resumed_run_has_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, resumed = tmp_path / "unbroken", tmp_path / "resumed"
    metrics = run(unbroken)
    run(resumed, stop_after_steps=3)
    assert checkpoint.read(resumed)["step"] == 3
    again = run(resumed, resume=True)
    first, second = checkpoint.read(unbroken), checkpoint.read(resumed)
    assert first["step"] == second["step"] == 6
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name
    assert again["dev_loss"] == metrics["dev_loss"]
    assert steps_in(unbroken) == [2, 4, 6]
    assert steps_in(resumed) == [2, 3, 4, 6]


def test_a_run_that_died_before_its_first_metrics_names_its_columns(tmp_path: Path) -> None:
    run(tmp_path, stop_after_steps=1)
    (tmp_path / "metrics.csv").write_text("")
    run(tmp_path, resume=True)
    assert steps_in(tmp_path) == [2, 4, 6]


def test_the_time_of_all_parts_of_a_run_is_kept(tmp_path: Path) -> None:
    run(tmp_path, stop_after_steps=3)
    first_s = checkpoint.core_s_of(checkpoint.read(tmp_path))
    run(tmp_path, resume=True)
    assert 0 < first_s < checkpoint.core_s_of(checkpoint.read(tmp_path))
    assert checkpoint.core_s_of({}) == 0


def test_a_run_leaves_metrics_as_a_table_and_a_picture(tmp_path: Path) -> None:
    metrics = run(tmp_path, stop_after_steps=2)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["dev_loss"]) == pytest.approx(metrics["dev_loss"], abs=1e-3)
    assert (tmp_path / "metrics.png").read_bytes().startswith(b"\x89PNG")
    of, model = checkpoint.load_model(tmp_path)
    assert of.name == "transformer"
    assert not model.training


def test_a_crash_while_saving_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = toy_architecture()
    model = of.build(of.presets["testing"])
    steppers = optimizers(model, TOY)
    checkpoint.save(tmp_path, of, TOY, model, steppers, step=1)

    def crash(state: object, path: Path) -> None:
        path.write_bytes(b"half of a")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, of, TOY, model, steppers, step=2)
    assert checkpoint.restore(tmp_path, model, steppers) == 1


def test_a_checkpoint_restores_weights_and_optimizers(tmp_path: Path) -> None:
    run(tmp_path, stop_after_steps=2)
    of = toy_architecture()
    model = of.build(of.presets["testing"])
    steppers = optimizers(model, TOY)
    assert checkpoint.restore(tmp_path, model, steppers) == 2
    saved = checkpoint.read(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved["model"][name]), name
    assert all(stepper.state_dict()["state"] for stepper in steppers)


def test_every_parameter_has_one_optimizer() -> None:
    of = toy_architecture()
    model = of.build(of.presets["testing"])
    held = [
        parameter
        for stepper in optimizers(model, TOY)
        for group in stepper.param_groups
        for parameter in group["params"]
    ]
    assert len(held) == len({id(parameter) for parameter in held})
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}


def test_the_learning_rate_rises_stays_and_falls() -> None:
    recipe = replace(TOY, steps=100, warmup_steps=10, decay_share=0.4, learning_rate=2.0)
    rates = [learning_rate(recipe, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[4] == pytest.approx(1.0)
    assert rates[9:61] == [2.0] * 52
    assert rates[80] == pytest.approx(1.0)
    assert rates[100] == 0.0
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_a_recipe_without_a_fall_keeps_its_rate_to_the_last_step() -> None:
    recipe = replace(TOY, decay_share=0.0)
    assert learning_rate(recipe, recipe.steps - 1) == recipe.learning_rate


def test_a_prefetched_batch_depends_on_its_step_only(tmp_path: Path) -> None:
    data = load(tmp_path, "train", run_dir=tmp_path, seed=5, options={"batch_size": 3})
    for step, batch in prefetched(data, 98, 103):  # beyond the pass of 100, too
        again = load(tmp_path, "train", run_dir=tmp_path, seed=5, options={"batch_size": 3})
        for name, tensor in again.batch(step).items():
            assert torch.equal(batch[name], tensor), (step, name)
    assert [step for step, _ in prefetched(data, 98, 103)] == [98, 99, 100, 101, 102]


def test_the_splits_have_no_batch_in_common(tmp_path: Path) -> None:
    batches = [
        load(tmp_path, split, run_dir=tmp_path, seed=5, options={"batch_size": 256}).batch(0)
        for split in ("train", "dev", "test")
    ]
    rows = [{tuple(row.tolist()) for row in batch["source"] if row[7]} for batch in batches]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
