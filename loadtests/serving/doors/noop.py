"""text → the same text: a task without a model, so that what is measured is the way to it."""

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from service.pb.compile import descriptor
from service.pb.proto import PACKAGE, SERVICE, proto
from service.schema import RequestModel, ResponseModel
from service.tasks import Item, Row, Task

TEXT = "Where is the library? It is behind the old bridge."


class EchoRequest(RequestModel):
    """Say it again."""

    text: str


class EchoResponse(ResponseModel):
    text: str


def _preprocess(_request: EchoRequest, _assets: object) -> list[Item]:
    return [{"index": np.array(0)}]


def _forward(_model: object, _assets: object, items: Any) -> list[Row]:
    return [{} for _ in items]


def _postprocess(request: EchoRequest, *_: object) -> EchoResponse:
    return EchoResponse(text=request.text)


def _nothing(_folder: Path) -> None:
    return None


def _one(_item: Item) -> int:
    return 1


TASK = Task(
    name="echo",
    summary="text → the same text",
    rpc="Echo",
    request=EchoRequest,
    response=EchoResponse,
    contract={},
    max_batch_cost=32,
    load_assets=_nothing,
    preprocess=_preprocess,
    forward=_forward,
    postprocess=_postprocess,
    cost=_one,
    example=lambda: EchoRequest(text=TEXT),
    expected=TEXT,
)


def service() -> ServiceDescriptor:
    """The gRPC service of this one task, generated as the real one is."""
    pool = DescriptorPool()
    pool.Add(descriptor(proto([TASK], {})))
    return pool.FindServiceByName(f"{PACKAGE}.{SERVICE}")
