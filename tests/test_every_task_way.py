"""Tasks whose requests are no text and no file, and answers that hold files, pass every door."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fake_doors import Doors, Lamp

from service.compat.doors import surfaces
from service.compat.oip.pb import open_inference_pb2 as oip
from service.compat.oip.rpc import open_inference
from service.contract import Tensor
from service.engine import Engine
from service.gate import Gate
from service.graphs import Assets as GraphAssets
from service.http import TaskDoor, pages
from service.pb import attendant_pb2 as pb
from service.rpc import RpcServer
from service.settings import Settings
from service.tasks import task
from service.tasks.unconditional_image_generation import Assets as PictureAssets

GENERATION, NODES, GRAPHS = (
    "unconditional-image-generation", "node-classification", "graph-classification",
)  # fmt: skip
WATER = {
    "nodes": [{"features": ["H"]}, {"features": ["O"]}, {"features": ["H"]}],
    "edges": [{"source": 0, "target": 1}, {"source": 1, "target": 2}],
}
PNG = b"\x89PNG\r\n\x1a\n"


class Scripted:
    """A model of each task: grey squares, and logits of how many neighbours there are."""

    def tensors(self, graph: str) -> dict[str, Tensor]:
        raise AssertionError("nobody asks for its tensors")

    def bind(self, graph: str, inputs: Any, outputs: Any) -> Callable[[], None]:
        raise AssertionError("it has no steps")

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if "noise" in inputs:
            bright = np.tanh(inputs["noise"][:, :1, None, None])
            pixels = {"pixels": np.broadcast_to(bright, (len(bright), 1, 4, 4))}
            attended = {"attended": np.full((len(bright), 2, 2), 0.25, np.float32)}
            return pixels | attended if graph == "attention" else pixels
        count = inputs["neighbours"].sum(2, dtype=np.float32)
        looked = inputs["neighbours"] / np.maximum(count, 1)[..., None]
        told = {"rollout": looked, "heads": looked[:, None, None]}
        if "lengths" in inputs:
            count = count.sum(1)
            told["rollout"] = looked[:, 0]
        logits = {"logits": np.stack([count, 1.5 * np.ones_like(count)], axis=-1)}
        return logits | told if graph == "attention" else logits


@asynccontextmanager
async def opened() -> AsyncIterator[Doors]:
    engine, gate, model = (
        Engine(list(map(task, (GENERATION, NODES, GRAPHS))), Settings()),
        Gate(),
        Scripted(),
    )
    chemistry = GraphAssets(["many", "few"], {"H": 0, "O": 1})
    engine.serve(engine.tasks[GENERATION], f"{GENERATION}:1", model, PictureAssets(["Bag", "Coat"]))
    for name in (NODES, GRAPHS):
        engine.serve(engine.tasks[name], f"{name}:1", model, chemistry)
    also = partial(open_inference, engine)
    server = RpcServer(engine, "127.0.0.1:0", engine.settings.max_body_bytes, also=also)
    await server.start()
    app = TaskDoor(engine, gate, surfaces(engine, gate, pages(engine)))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        try:
            yield Doors(engine, http, channel, Lamp())
        finally:
            await server.stop(grace_s=1)
            await engine.close()


def with_doors(scenario: Callable[[Doors], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), opened() as doors:
            await scenario(doors)

    asyncio.run(run())


async def rpc(doors: Doors, method: str, request: Any, reply: Any) -> Any:
    return await doors.channel.unary_unary(method, response_deserializer=reply.FromString)(
        request.SerializeToString()
    )


def test_both_of_our_doors_draw_the_same_picture() -> None:
    async def scenario(doors: Doors) -> None:
        asked = {"label": "Coat", "seed": 3, "count": 2}
        told = (await doors.http.post(f"/{GENERATION}", json=asked)).json()
        files = [base64.b64decode(one["image"]) for one in told["pictures"]]
        assert all(file.startswith(PNG) for file in files)
        method = "/attendant.v1.Attendant/GenerateImage"
        request = pb.GenerateImageRequest(**asked)
        answer = await rpc(doors, method, request, pb.GenerateImageResponse)
        assert [one.image for one in answer.pictures] == files
        assert (answer.seed, answer.pictures[0].label) == (3, "Coat")

    with_doors(scenario)


def test_both_of_our_doors_say_the_same_of_a_graph() -> None:
    async def scenario(doors: Doors) -> None:
        told = (await doors.http.post(f"/{NODES}", json={"graph": WATER})).json()
        assert [one["label"] for one in told["nodes"]] == ["few", "many", "few"]
        method = "/attendant.v1.Attendant/ClassifyNodes"
        request = pb.ClassifyNodesRequest(graph=pb.Graph(**WATER))
        answer = await rpc(doors, method, request, pb.ClassifyNodesResponse)
        assert [one.label for one in answer.nodes] == ["few", "many", "few"]

    with_doors(scenario)


def test_both_of_our_doors_tell_where_pictures_were_looked_at() -> None:
    async def scenario(doors: Doors) -> None:
        asked = {"label": "Coat", "seed": 3, "count": 2, "explain": True}
        told = (await doors.http.post(f"/{GENERATION}", json=asked)).json()
        assert [each["index"] for each in told["attention"]] == [0, 1]
        assert told["attention"][0]["weights"] == [0.25] * 4
        method, request = "GenerateImage", pb.GenerateImageRequest(**asked)
        answer = await rpc(
            doors, f"/attendant.v1.Attendant/{method}", request, pb.GenerateImageResponse
        )
        assert [list(each.weights) for each in answer.attention] == [[0.25] * 4] * 2

    with_doors(scenario)


@pytest.mark.parametrize(("name", "method"), [(NODES, "Nodes"), (GRAPHS, "Graph")])
def test_both_of_our_doors_tell_whom_the_nodes_looked_at(name: str, method: str) -> None:
    async def scenario(doors: Doors) -> None:
        told = (await doors.http.post(f"/{name}", json={"graph": WATER, "explain": True})).json()
        assert [each["name"] for each in told["attention"]] == ["rollout", "heads"]
        over_all, heads = told["attention"]
        assert heads["weights"] == [0, 1, 0, 0.5, 0, 0.5, 0, 1, 0]
        assert heads["axes"][3]["labels"] == ["H", "O", "H"]
        assert over_all["weights"] == (heads["weights"] if name == NODES else [0, 1, 0])
        request = getattr(pb, f"Classify{method}Request")(graph=pb.Graph(**WATER), explain=True)
        reply = getattr(pb, f"Classify{method}Response")
        answer = await rpc(doors, f"/attendant.v1.Attendant/Classify{method}", request, reply)
        assert [list(each.weights) for each in answer.attention] == [
            each["weights"] for each in told["attention"]
        ]

    with_doors(scenario)


def test_an_end_of_an_edge_that_was_left_out_is_not_node_0() -> None:
    async def scenario(doors: Doors) -> None:
        told = (
            await doors.http.post(f"/{GRAPHS}", json={"graph": {**WATER, "edges": [{"source": 1}]}})
        ).json()
        assert (told["status"], told["field"]) == (422, "graph.edges.0.target")
        graph = pb.Graph(nodes=[pb.Node()], edges=[pb.Edge(source=0)])
        method = "/attendant.v1.Attendant/ClassifyGraph"
        request = pb.ClassifyGraphRequest(graph=graph)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(doors, method, request, pb.ClassifyGraphResponse)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (caught.value.details() or "").startswith("graph.edges.0.target")

    with_doors(scenario)


def test_hugging_faces_shape_takes_a_graph_as_its_inputs() -> None:
    async def scenario(doors: Doors) -> None:
        asked = {"inputs": WATER, "parameters": {"top_k": 1}}
        told = await doors.http.post(f"/models/{GRAPHS}", json=asked)
        assert [one["label"] for one in told.json()] == ["many"]
        asked = {"inputs": "Bag", "parameters": {"seed": 1, "colour": "red"}}
        told = await doors.http.post(f"/pipeline/{GENERATION}", json=asked)
        assert told.json()["field"] == "parameters.colour"
        del asked["parameters"]["colour"]  # type: ignore[attr-defined]
        told = await doors.http.post(f"/pipeline/{GENERATION}", json=asked)
        assert base64.b64decode(told.json()[0]["image"]).startswith(PNG)

    with_doors(scenario)


def test_the_open_inference_protocol_takes_a_graph_as_json_and_gives_files() -> None:
    async def scenario(doors: Doors) -> None:
        async def infer(model: str, name: str, *data: str, **more: Any) -> dict[str, Any]:
            tensor = {"name": name, "datatype": "BYTES", "shape": [len(data)], "data": data}
            path = f"/v2/models/{model}/infer"
            reply = await doors.http.post(path, json={"inputs": [tensor], **more})
            told: dict[str, Any] = reply.json()
            return told

        told = await infer(NODES, "graph", json.dumps(WATER), '{"nodes": [{}]}')
        labels = told["outputs"][0]
        assert (labels["shape"], labels["data"]) == ([2, 3], ["few", "many", "few", "few", "", ""])
        told = await infer(NODES, "graph", "{")
        assert (told["status"], told["field"]) == (400, "graph")
        told = await infer(GENERATION, "label", "Bag", parameters={"seed": 2})
        outputs = {one["name"]: one["data"] for one in told["outputs"]}
        assert base64.b64decode(outputs["image"][0]).startswith(PNG)
        assert (outputs["label"], outputs["seed"]) == (["Bag"], [2])
        request = oip.ModelInferRequest(
            model_name=GENERATION,
            inputs=[{"name": "label", "datatype": "BYTES", "shape": [1]}],
            raw_input_contents=[b"\x03\x00\x00\x00Bag"],
        )
        request.parameters["seed"].int64_param = 2
        method = "/inference.GRPCInferenceService/ModelInfer"
        answer = await rpc(doors, method, request, oip.ModelInferResponse)
        assert answer.raw_output_contents[0][4:].startswith(PNG)

    with_doors(scenario)
