"""Checkpoints of four kinds, imported by command, asked by name on every door of one server."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from checkpoints import marian
from google.protobuf.json_format import MessageToDict
from test_models_families_images import checkpoint as picture_checkpoint
from test_models_families_sounds import spectrogram_checkpoint, waveform_checkpoint
from test_service_life import OWN, Service, running
from typer.testing import CliRunner

from models.__main__ import app
from service import store
from service.compat.oip.pb import open_inference_pb2 as oip
from service.pb import attendant_pb2 as pb

EXAMPLES = Path(__file__).parents[1] / "service" / "examples"
PICTURE = (EXAMPLES / "cat.jpg").read_bytes()
SOUND = (EXAMPLES / "yes.flac").read_bytes()
TEXT = {"source": "en", "target": "de", "beam_size": 1, "max_new_tokens": 4}
TASKS = {
    "opus": "translation",
    "vit": "image-classification",
    "letters": "automatic-speech-recognition",
    "ast": "audio-classification",
}


pytestmark = pytest.mark.filterwarnings("ignore:Recommended")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models of random weights, each imported by command."""
    path = tmp_path_factory.mktemp("imported")
    given = {
        "opus": marian(path / "marian"),
        "vit": picture_checkpoint(path / "pictures", "vit"),
        "letters": waveform_checkpoint(path / "waves", "wav2vec2-base"),
        "ast": spectrogram_checkpoint(path / "mels"),
    }
    for name, folder in given.items():
        command = ["import", str(folder), "--name", name, "--out", str(path / "build")]
        done = CliRunner().invoke(app, [*command, "--no-install"])
        assert done.exit_code == 0, done.output
    return path / "build"


@pytest.fixture
def tags(imported: Path) -> dict[str, str]:
    """Name → tag in the store."""
    return {name: store.install(imported / name) for name in TASKS}


class Asking:
    """One request to one model, in the form of each door; returns the model that answered."""

    def __init__(self, service: Service) -> None:
        self.client, self.channel, self.stub = service.client, service.channel, service.stub

    async def rest(self, name: str) -> str:
        if name.startswith("opus"):
            body = {"text": "I read.", "model": name, **TEXT}
            reply = await self.client.post("/translation", json=body)
        else:
            of = TASKS[name.partition(":")[0]]
            content = PICTURE if of == "image-classification" else SOUND
            reply = await self.client.post(f"/{of}", params={"model": name}, content=content)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["model"])

    async def native_rpc(self, name: str) -> str:
        asked: dict[str, Any] = {
            "opus": (self.stub.Translate, pb.TranslateRequest(text=["I read."], **TEXT)),
            "vit": (self.stub.ClassifyImage, pb.ClassifyImageRequest(image=PICTURE)),
            "letters": (self.stub.Transcribe, pb.TranscribeRequest(audio=SOUND)),
            "ast": (self.stub.ClassifyAudio, pb.ClassifyAudioRequest(audio=SOUND)),
        }
        method, request = asked[name.partition(":")[0]]
        request.model = name
        return str((await method(request)).model)

    async def hugging_face(self, name: str) -> None:
        if name == "opus":
            parameters = {"src_lang": "en", "tgt_lang": "de"}
            body = {"inputs": "I read.", "parameters": parameters}
            reply = await self.client.post("/models/me/opus", json=body)
        else:
            content = PICTURE if name == "vit" else SOUND
            path = f"/models/me/{name}/pipeline/{TASKS[name]}"
            reply = await self.client.post(path, content=content)
        assert reply.status_code == 200, reply.text

    def _tensors(self, name: str) -> oip.ModelInferRequest:
        content = {"opus": b"I read.", "vit": PICTURE}.get(name, SOUND)
        field = {"opus": "text", "vit": "image"}.get(name, "audio")
        tensor = oip.ModelInferRequest.InferInputTensor(name=field, datatype="BYTES", shape=[1])
        request = oip.ModelInferRequest(model_name=name, inputs=[tensor])
        request.raw_input_contents.append(len(content).to_bytes(4, "little") + content)
        if name == "opus":
            request.parameters["source"].string_param = "en"
            request.parameters["target"].string_param = "de"
        return request

    async def oip_rpc(self, name: str, version: str = "") -> str:
        request = self._tensors(name)
        request.model_version = version
        method = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelInferResponse.FromString,
        )
        reply = await method(request)
        return f"{reply.model_name}:{reply.model_version}"

    async def oip_rest(self, version: str) -> str:
        body = {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["I read."]}],
            "parameters": {"source": "en", "target": "de"},
        }
        path = f"/v2/models/opus/versions/{version}/infer"
        reply = await self.client.post(path, json=body)
        assert reply.status_code == 200, reply.text
        told = reply.json()
        return f"{told['model_name']}:{told['model_version']}"

    async def libretranslate(self, name: str) -> int:
        said = {"q": "I read.", "source": "en", "target": "de", "model": name}
        return (await self.client.post("/translate", json=said)).status_code


def test_imported_models_answer_by_name_on_every_door_of_one_server(tags: dict[str, str]) -> None:
    async def scenario() -> None:
        async with running(*OWN, models="*", preload="") as service:
            ask = Asking(service)
            for name, tag in tags.items():
                assert await ask.rest(name) == await ask.rest(tag) == tag
                assert await ask.native_rpc(name) == await ask.native_rpc(tag) == tag
                assert await ask.oip_rpc(name) == await ask.oip_rpc(*tag.split(":")) == tag
                await ask.hugging_face(name)
            assert await ask.oip_rest(tags["opus"].partition(":")[2]) == tags["opus"]
            assert await ask.libretranslate("opus") == 200
            listed = (await ask.client.get("/models")).json()
            assert {f"{m['name']}:{m['version']}": m["task"] for m in listed["models"]} == {
                tags[name]: task for name, task in TASKS.items()
            }
            assert {m["state"] for m in listed["models"]} == {"loaded"}
            assert all(m["card"]["source"] and m["is_default"] for m in listed["models"])
            over_grpc = MessageToDict(
                await ask.stub.ListModels(pb.ListModelsRequest()),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            assert [m["name"] for m in over_grpc["models"]] == [m["name"] for m in listed["models"]]
            assert over_grpc["models"][0]["card"] == listed["models"][0]["card"]

    asyncio.run(scenario())


def test_an_unknown_model_is_not_found_on_any_door(tags: dict[str, str]) -> None:
    async def refused(asked: Any) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asked
        assert "opus" in (caught.value.details() or "")
        return caught.value.code()

    async def scenario() -> None:
        async with running(*OWN, models="*", preload="") as service:
            ask = Asking(service)
            body = {"text": "I read.", **TEXT}
            for model, status in (("opsu", 404), ("opus:9", 404), ("vit", 422)):
                reply = await ask.client.post("/translation", json={**body, "model": model})
                assert (reply.status_code, reply.json()["field"]) == (status, "model")
                assert await ask.libretranslate(model) == status
                request = pb.TranslateRequest(text=["I read."], model=model, **TEXT)
                code = await refused(ask.stub.Translate(request)) if status == 404 else None
                assert code in (None, grpc.StatusCode.NOT_FOUND)
            for path in ("/models/opsu", "/models/opus:9", "/v2/models/opsu/infer"):
                assert (await ask.client.post(path, json={})).status_code == 404
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask.oip_rpc("opus", "9")
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


def test_a_small_memory_holds_them_in_turn_and_no_request_fails(
    imported: Path, tags: dict[str, str]
) -> None:
    sizes = [store.memory_bytes(imported / name) for name in tags]

    async def scenario() -> None:
        budget = str(max(sizes) + 1)
        async with running(*OWN, models="*", model_memory_bytes=budget) as service:
            ask = Asking(service)

            async def client(start: int) -> None:
                names = list(tags)
                for turn in range(6):
                    name = names[(start + turn) % len(names)]
                    assert await ask.rest(name) == tags[name]

            await asyncio.gather(*(client(start) for start in range(4)))
            listed = (await ask.client.get("/models")).json()
            assert listed["memory_bytes"] <= listed["budget_bytes"] == max(sizes) + 1
            metrics = (await ask.client.get("/metrics")).text
            unloads = [line for line in metrics.splitlines() if "model_unloads_total{" in line]
            assert sum(float(line.split()[-1]) for line in unloads) > 0

    asyncio.run(scenario())
