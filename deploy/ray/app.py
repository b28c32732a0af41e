"""`serve run deploy/ray/serve.yaml`: an application of Ray Serve, of all tasks or some."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from deploy.ray.replica import Replica


class Arguments(BaseModel):
    """The `args` of an application."""

    model_config = ConfigDict(extra="forbid")

    tasks: list[str] = []
    """Those that its replicas answer; all if none are named."""


def deployed(tasks: Sequence[str], **options: Any) -> serve.Application:
    """Replicas with these options of a deployment."""
    deployment = serve.deployment(serve.ingress()(Replica), name="Attendant", **options)
    return deployment.bind(tasks)


def attendant(args: Arguments) -> serve.Application:
    """How many replicas there are, and when, stands in the file under `deployments`."""
    return deployed(args.tasks)
