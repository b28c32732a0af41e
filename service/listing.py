"""models that may be asked for → what is told of them, on both doors: `GET /models`, ListModels."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.served import Served

State = Literal["loaded", "loading", "not loaded", "failed"]
MAX_BYTES = 2**63 - 1


class Metric(BaseModel):
    """What a model reached on the dev split of its training, or before and after rounding."""

    name: str
    value: float


class Card(BaseModel):
    """Where a model is from, on what terms, and how good it is."""

    architecture: str = ""
    source: str = Field(default="", description="Training data, or the checkpoint imported.")
    licence: str = Field(default="", description="Of that data or checkpoint.")
    revision: str = ""
    target: str = Field(default="", description="What the graphs were lowered for.")
    metrics: list[Metric] = []


class Model(BaseModel):
    """One version of a model."""

    name: str
    version: str
    task: str
    is_current: bool = Field(description="Its name alone means this version.")
    is_default: bool = Field(description="It answers where the task's request names no model.")
    state: State
    reason: str = Field(description="Why it failed.")
    memory_bytes: int = Field(le=MAX_BYTES, description="Estimate; taken while it is loaded.")
    card: Card


class ListModelsRequest(BaseModel):
    """Ask for all models."""

    model_config = ConfigDict(extra="forbid")


class ListModelsResponse(BaseModel):
    """Every model that may be asked for, by name, the version that the name means first."""

    models: list[Model]
    memory_bytes: int = Field(le=MAX_BYTES, description="Of all that are loaded, estimated.")
    budget_bytes: int | None = Field(le=MAX_BYTES, description="Their bound, if there is one.")


def _state(model: Served) -> State:
    if model.loaded is not None:
        return "loaded"
    if model.loading is not None:
        return "loading"
    return "failed" if model.fault else "not loaded"


def _card(model: Served) -> Card:
    of = model.manifest
    if of is None:
        return Card()
    measured = of.metrics | {f"{group}, as served": q.reached for group, q in of.quality.items()}
    return Card(
        architecture=of.architecture,
        source=of.data.source,
        licence=of.data.licence,
        revision=of.imported.revision if of.imported else of.revision,
        target=of.target,
        metrics=[Metric(name=name, value=value) for name, value in measured.items()],
    )


def entry(model: Served, *, is_current: bool, is_default: bool) -> Model:
    """A model as it is told of now."""
    return Model(
        name=model.name,
        version=model.version,
        task=model.task.name,
        is_current=is_current,
        is_default=is_current and is_default,
        state=_state(model),
        reason=model.fault,
        memory_bytes=model.bytes,
        card=_card(model),
    )
