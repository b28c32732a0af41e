"""models → what the protocol tells of the server and of them, for either transport."""

from typing import Any

from service import openapi
from service.compat.oip import statistics
from service.compat.oip.models import Models
from service.compat.oip.tensors import BYTES, Spec
from service.errors import Problem

EXTENSIONS = [
    "binary_tensor_data", "classification", "model_configuration", "model_repository",
    "model_repository(unload_dependents)", "parameters", "schedule_policy", "statistics",
]  # fmt: skip
SERVER: dict[str, Any] = {
    "name": "attendant",
    "version": openapi.version_of(),
    "extensions": EXTENSIONS,
}


def _tensor(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


async def metadata(models: Models, name: str, version: str = "") -> dict[str, Any]:
    model, _ = await models.find(name, version)
    versions = models.engine.models.registry.versions(models.served(name).name)
    return {
        "name": name,
        "versions": [each.version for each in versions],
        "platform": model.platform,
        "inputs": [_tensor(spec) for spec in model.inputs],
        "outputs": [_tensor(spec) for spec in model.outputs],
    }


async def config(models: Models, name: str, version: str = "") -> dict[str, Any]:
    """As Triton's model configuration; the first axis is not named there, for it is the batch."""
    model, _ = await models.find(name, version)

    def tensor(spec: Spec) -> dict[str, Any]:
        kind = "STRING" if spec.datatype == BYTES else spec.datatype
        return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:]) or [1]}

    return {
        "name": name,
        "platform": model.platform,
        "backend": "attendant",
        "max_batch_size": model.max_batch,
        "input": [tensor(spec) for spec in model.inputs],
        "output": [tensor(spec) for spec in model.outputs],
    }


def index(models: Models, *, ready: bool = False) -> list[dict[str, Any]]:
    """Every model with its state; only those that are ready where so asked."""
    entries = []
    for name in models.names():
        version = models.version(name) or ""
        entry = {"name": name, "version": version, "state": "UNAVAILABLE", "reason": ""}
        if models.ready(name):
            entry["state"] = "READY"
        elif not ready:
            entry["reason"] = _fault(models, name)
        if entry["state"] == "READY" or not ready:
            entries.append(entry)
    return entries


def _fault(models: Models, name: str) -> str:
    try:
        return models.served(name).fault or "the service is shutting down"
    except Problem as problem:
        return problem.detail


def stats(models: Models, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """Statistics of one model or of all that are served; names of one model share its counts."""
    names = [name] if name else [name for name in models.names() if models.version(name)]
    for each in names:
        models.served(each, version)
    counted = statistics.sums()
    return [
        {
            "name": each,
            "version": models.version(each),
            **statistics.of_model(counted, models.served(each).name),
        }
        for each in names
    ]
