"""Calls and streams over gRPC ask for a key, and each of their messages counts."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_doors import Doors
from fake_keys import INFERENCE, SHOUT, asking_for_keys

from service.compat.oip.pb import open_inference_pb2 as pb


@pytest.mark.parametrize("method", [INFERENCE + "ModelInfer", "/attendant.v1.Attendant/Shout"])
def test_grpc_calls_ask_for_a_key(method: str, tmp_path: Path) -> None:
    message = SHOUT.SerializeToString() if "inference" in method else b"\x1a\x01a"

    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        call = doors.channel.unary_unary(method)

        async def code(**metadata: str) -> grpc.StatusCode:
            try:
                await call(message, metadata=tuple(metadata.items()))
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        assert await code() is grpc.StatusCode.UNAUTHENTICATED
        assert await code(authorization="Bearer att_0_0") is grpc.StatusCode.PERMISSION_DENIED
        assert await code(authorization="Basic eA==") is grpc.StatusCode.UNAUTHENTICATED
        assert await code(api_key=made["admin"]) is grpc.StatusCode.PERMISSION_DENIED
        assert await code(authorization=f"Bearer {made['infer']}") is grpc.StatusCode.OK
        assert await code(api_key=made["limited"]) is grpc.StatusCode.OK
        assert await code(api_key=made["limited"]) is grpc.StatusCode.RESOURCE_EXHAUSTED

    asking_for_keys(scenario, tmp_path / "keys.db")


def test_every_message_of_a_grpc_stream_is_counted(tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        stream = doors.channel.stream_stream(INFERENCE + "ModelStreamInfer")

        async def asked() -> Any:
            for _ in range(3):
                yield SHOUT.SerializeToString()

        replies = stream(asked(), metadata=(("api_key", made["limited"]),))
        said = [pb.ModelStreamInferResponse.FromString(raw) async for raw in replies]
        assert [one.error_message for one in said] == [
            "", "api_key: the key allows 1 requests a minute",
        ]  # fmt: skip

    asking_for_keys(scenario, tmp_path / "keys.db")


def test_grpc_probes_ask_for_no_key_and_the_repository_for_the_scope_admin(tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        assert await doors.channel.unary_unary(INFERENCE + "ServerReady")(b"")
        assert await doors.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        unload = doors.channel.unary_unary(INFERENCE + "RepositoryModelUnload")
        message = pb.RepositoryModelUnloadRequest(model_name="shout").SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unload(message, metadata=(("api_key", made["infer"]),))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        await unload(message, metadata=(("api_key", made["admin"]),))
        assert doors.engine.status()["shout"] == "shout was unloaded"

    asking_for_keys(scenario, tmp_path / "keys.db")
