"""A tiny DETR is exported, served, and asked on every door: the same objects come from each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import torch

from export.model import export_model
from export.published import from_published
from export.source import Trained
from models.architectures import detr
from models.catalogue import architecture
from models.datasets import write_labels
from models.datasets.garment_scenes import CLASSES
from service.compat.doors import described, surfaces
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.manifest import Data, Manifest
from service.pb import attendant_pb2, attendant_pb2_grpc
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import task

DETECTION = task("object-detection")
IMAGE = DETECTION.example().model_dump()["image"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A model folder of random weights that is sure enough of something."""
    run_dir = tmp_path_factory.mktemp("run")
    write_labels(run_dir, CLASSES)
    torch.manual_seed(1)
    model = detr.build(detr.PRESETS["testing"]).eval()
    torch.nn.init.normal_(model.content)
    torch.nn.init.normal_(model.head.weight)
    trained = Trained(
        architecture("detr"),
        model,
        assets=[run_dir / "assets" / "labels.json"],
        data=Data(source="none", licence="none"),
        recipe={},
    )
    folder = run_dir / "object-detection"
    return folder, export_model(trained, name=DETECTION.name, target="cpu", folder=folder)


class Doors:
    """The worker's two doors, and a client of each."""

    def __init__(self, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
        self.http = http
        self.stub = attendant_pb2_grpc.AttendantStub(channel)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Doors]:
    engine, gate = Engine([DETECTION], Settings(threads=1)), Gate()
    await engine.load(DETECTION, folder)
    assert set(engine.status().values()) == {"ready"}
    server = RpcServer(engine, "127.0.0.1:0", engine.settings.max_body_bytes)
    await server.start()
    app = TaskDoor(engine, gate, surfaces(engine, gate, pages(engine, described(engine.tasks))))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        try:
            yield Doors(http, channel)
        finally:
            await server.stop(grace_s=1)
            await engine.close()


def with_doors(folder: Path, scenario: Callable[[Doors], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), opened(folder) as doors:
            await scenario(doors)

    asyncio.run(run())


def test_every_attention_becomes_an_op_of_the_target(published: tuple[Path, Manifest]) -> None:
    stated = detr.attentions(detr.PRESETS["testing"])["model"].whole
    ops = published[1].parity.graphs["model"].attention_ops
    assert ops == {"MultiHeadAttention": stated}


def test_what_was_published_can_be_exported_anew(
    published: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, manifest = published
    anew = export_model(
        from_published(folder), name=DETECTION.name, target="cpu", folder=tmp_path / folder.name
    )
    assert anew.files == manifest.files


def test_every_door_finds_the_same(published: tuple[Path, Manifest]) -> None:
    async def scenario(doors: Doors) -> None:
        form = {"files": {"image": IMAGE}, "data": {"threshold": "0.05", "max_detections": "3"}}
        reply = await doors.http.post("/object-detection", **form)  # type: ignore[arg-type]
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["detections"]
        assert len(found) == 3

        asked = attendant_pb2.DetectObjectsRequest(image=IMAGE, threshold=0.05, max_detections=3)
        answer = await doors.stub.DetectObjects(asked)
        for ours, theirs in zip(found, answer.detections, strict=True):
            assert theirs.label == ours["label"]
            assert theirs.score == pytest.approx(ours["score"], abs=1e-5)
            for side, value in ours["box"].items():
                assert getattr(theirs.box, side) == value

        raw = await doors.http.post("/models/object-detection", content=IMAGE)
        assert raw.status_code == 200, raw.text
        assert all(
            one["score"] >= 0.5 and set(one) == {"label", "score", "box"} for one in raw.json()
        )

    with_doors(published[0], scenario)


def test_both_doors_tell_where_was_looked(published: tuple[Path, Manifest]) -> None:
    async def scenario(doors: Doors) -> None:
        fields = {"threshold": 0.05, "max_detections": 3}
        plain = await doors.http.post("/object-detection", files={"image": IMAGE}, data=fields)
        reply = await doors.http.post(
            "/object-detection", files={"image": IMAGE}, data=fields | {"explain": True}
        )
        answer = reply.json()
        assert answer["detections"] == plain.json()["detections"]
        (found,) = answer["attention"]
        sizes = [axis["size"] for axis in found["axes"]]
        assert sizes == [3, 2, 8, 8]
        weights = np.array(found["weights"]).reshape(sizes)
        assert weights.sum((2, 3)) == pytest.approx(np.ones((3, 2)), abs=1e-3)
        asked = attendant_pb2.DetectObjectsRequest(image=IMAGE, explain=True, **fields)
        (told,) = (await doors.stub.DetectObjects(asked)).attention
        assert list(told.weights) == pytest.approx(found["weights"], abs=1e-4)

    with_doors(published[0], scenario)


def test_hugging_faces_threshold_and_refusals_hold(published: tuple[Path, Manifest]) -> None:
    import base64

    async def ask(doors: Doors, **parameters: Any) -> httpx.Response:
        body = {"inputs": base64.b64encode(IMAGE).decode(), "parameters": parameters}
        return await doors.http.post("/pipeline/object-detection", json=body)

    async def scenario(doors: Doors) -> None:
        scores = [one["score"] for one in (await ask(doors, threshold=0.1)).json()]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.1
        for parameters in ({"threshold": 2}, {"top_k": 3}, {"model": "other"}):
            refused = await ask(doors, **parameters)
            assert refused.status_code == 422, refused.text
            assert next(iter(parameters)) in refused.json()["error"]

    with_doors(published[0], scenario)


def test_the_protocols_tensors_have_a_column_for_each_side(
    published: tuple[Path, Manifest],
) -> None:
    async def scenario(doors: Doors) -> None:
        about = (await doors.http.get("/v2/models/object-detection")).json()
        names = [output["name"] for output in about["outputs"]]
        assert names == ["label", "score", "xmin", "ymin", "xmax", "ymax"]

    with_doors(published[0], scenario)


@pytest.mark.parametrize(
    ("content", "status"), [(b"no picture", 415), (IMAGE[: len(IMAGE) // 2], 422), (b"", 422)]
)
def test_both_doors_refuse_alike(
    published: tuple[Path, Manifest], content: bytes, status: int
) -> None:
    codes = {415: grpc.StatusCode.INVALID_ARGUMENT, 422: grpc.StatusCode.INVALID_ARGUMENT}

    async def scenario(doors: Doors) -> None:
        reply = await doors.http.post(
            "/object-detection", content=content, headers={"content-type": "image/png"}
        )
        assert reply.status_code == status, reply.text
        assert reply.json()["field"] == "image"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doors.stub.DetectObjects(attendant_pb2.DetectObjectsRequest(image=content))
        assert caught.value.code() is codes[status]
        assert "image" in caught.value.details()

    with_doors(published[0], scenario)
