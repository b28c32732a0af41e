"""recipe → run folder: checkpoint.pt, metrics.csv, metrics.png; interrupted runs resume exactly."""

import csv
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models import checkpoint
from models.catalogue import Architecture, dataset_loader
from models.datasets import Batch, Dataset
from models.plot import plot_metrics
from models.recipe import Recipe

CHECKPOINT_EVERY_S = 240.0


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, a plateau, then a linear fall to zero over the last `decay_share`."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    left = (recipe.steps - step) / max(1.0, recipe.steps * recipe.decay_share)
    return recipe.learning_rate * min(warm, left, 1.0)


@contextmanager
def precision(recipe: Recipe) -> Iterator[None]:
    """bfloat16 products, and attention as plain matrix products.

    On a CPU the fused attention's backward took half of a step at the short lengths trained here.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16), sdpa_kernel(SDPBackend.MATH):
        yield


def learning(model: nn.Module, recipe: Recipe) -> None:
    """Training mode; the statistics of batch norms stay as they are in a model that was trained.

    Those of a few batches of other data would undo what the model knows.
    """
    model.train()
    if recipe.base:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def evaluate(
    architecture: Architecture, model: nn.Module, dataset: Dataset, recipe: Recipe
) -> dict[str, float]:
    """Dev loss and accuracy: the architecture's sums over all batches, divided by the count."""
    sums: dict[str, float] = {}
    model.eval()
    with torch.no_grad(), precision(recipe):
        for step in range(len(dataset)):
            for name, value in architecture.score(model, dataset.batch(step)).items():
                sums[name] = sums.get(name, 0.0) + value
    learning(model, recipe)
    return {
        "dev_loss": sums["loss"] / sums["count"],
        "dev_accuracy": sums["correct"] / sums["count"],
    }


def prefetched(dataset: Dataset, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
    """Batches start..stop-1, each prepared while the one before it is trained on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(dataset.batch, start)
        for step in range(start, stop):
            batch = waiting.result()
            if step + 1 < stop:
                waiting = pool.submit(dataset.batch, step + 1)
            yield step, batch


def train(
    architecture: Architecture,
    recipe: Recipe,
    *,
    data_dir: Path,
    run_dir: Path,
    resume: bool = False,
    compiled: bool = False,
    stop_after_steps: int | None = None,
) -> dict[str, float]:
    """Train to the end of the recipe (or `stop_after_steps`) and return the last metrics."""
    run_dir.mkdir(parents=True, exist_ok=True)
    load = dataset_loader(recipe.dataset)
    data, dev = (
        load(data_dir, split, run_dir=run_dir, seed=recipe.seed, options=recipe.data)
        for split in ("train", "dev")
    )
    torch.manual_seed(recipe.seed)
    return fit(
        architecture,
        recipe,
        architecture.build(architecture.presets[recipe.preset]),
        (data, dev),
        run_dir=run_dir,
        resume=resume,
        compiled=compiled,
        stop_after_steps=stop_after_steps,
    )


def fit(
    architecture: Architecture,
    recipe: Recipe,
    model: nn.Module,
    splits: tuple[Dataset, Dataset],
    *,
    run_dir: Path,
    resume: bool = False,
    compiled: bool = False,
    stop_after_steps: int | None = None,
) -> dict[str, float]:
    """Train a model on the first split, measured on the second; returns the last metrics.

    With `patience` in the recipe the metrics are those of the best weights.
    """
    data, dev = splits
    steppers = architecture.optimizers(model, recipe)
    start = checkpoint.restore(run_dir, model, steppers) if resume else 0
    before = checkpoint.read(run_dir) if resume else {}
    best = checkpoint.best_of(before)
    began_s = time.process_time() - checkpoint.core_s_of(before)
    loss_of = torch.compile(architecture.loss, dynamic=True) if compiled else architecture.loss
    stop = min(recipe.steps, start + (stop_after_steps or recipe.steps))
    if _given_up(recipe, best, start):
        stop = start
    metrics: dict[str, float] = {}
    losses: list[float] = []
    saved_s = time.monotonic()

    mode = "a" if resume else "w"
    # By line, so that a run that is killed leaves all that it measured.
    with (run_dir / "metrics.csv").open(mode, buffering=1, newline="") as file, _bar() as bar:
        rows = csv.writer(file)

        def measure(step: int, rate: float) -> None:
            nonlocal metrics, best
            metrics = {"train_loss": sum(losses) / len(losses) if losses else math.nan}
            metrics |= evaluate(architecture, model, dev, recipe)
            rows.writerow([step, f"{rate:.3g}", *(f"{value:.4f}" for value in metrics.values())])
            losses.clear()
            # A run that is interrupted here and there must find the same best weights.
            if recipe.patience and (not step % recipe.evaluate_every_steps or step == recipe.steps):
                best = checkpoint.better(best, model, metrics, step=step)

        if not file.tell():
            rows.writerow(["step", "learning_rate", "train_loss", "dev_loss", "dev_accuracy"])
        if recipe.base and not resume:
            measure(0, 0.0)
        learning(model, recipe)
        task = bar.add_task(run_dir.name, total=recipe.steps, completed=start, note="")
        for step, batch in prefetched(data, start, stop):
            # Dropout follows from (seed, step) too, so a resumed run repeats it.
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            rate = learning_rate(recipe, step)
            with precision(recipe):
                loss = loss_of(model, batch)
            _step(model, loss, steppers, rate=rate)
            losses.append(loss.item())
            done = step + 1
            if done % recipe.evaluate_every_steps == 0 or done == stop:
                measure(done, rate)
            ended = done == stop or _given_up(recipe, best, done)
            if ended or time.monotonic() - saved_s > CHECKPOINT_EVERY_S:
                core_s = time.process_time() - began_s
                checkpoint.save(
                    run_dir,
                    architecture,
                    recipe,
                    model,
                    steppers,
                    step=done,
                    best=best,
                    core_s=core_s,
                )
                saved_s = time.monotonic()
            note = f"loss {loss.item():.3f} dev {metrics.get('dev_accuracy', 0):.4f}"
            bar.update(task, completed=done, note=note)
            if ended:
                break
    plot_metrics(run_dir / "metrics.csv", run_dir / "metrics.png")
    return dict(best.metrics) if best else metrics


def _step(
    model: nn.Module, loss: Tensor, steppers: list[torch.optim.Optimizer], *, rate: float
) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for stepper in steppers:
        for group in stepper.param_groups:
            group["lr"] = rate * group.get("pace", 1.0)
        stepper.step()
        stepper.zero_grad()


def _given_up(recipe: Recipe, best: checkpoint.Best | None, step: int) -> bool:
    """Whether nothing has become better for as long as the recipe waits."""
    waited = step - best.step if best else 0
    return waited >= recipe.patience * recipe.evaluate_every_steps > 0


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        speed_estimate_period=600,
        refresh_per_second=1,
    )
