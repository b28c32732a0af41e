"""API keys: who may do what and how often, on every door, and that nobody ever reads them."""

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fake_doors import Doors, with_doors
from typer.testing import CliRunner

from service import logs
from service.__main__ import app as command
from service.access import keys as keys_module
from service.access.keys import Keys
from service.compat.oip.pb import open_inference_pb2 as pb
from service.errors import Forbidden, RateExceeded, Unauthenticated, Unavailable
from service.settings import Settings

INFER = frozenset({"infer"})
ADMIN = frozenset({"admin"})


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    made = Keys(tmp_path / "keys.db", create=True)
    yield made
    made.close()


def test_the_file_holds_no_key_and_is_read_by_its_owner_only(keys: Keys, tmp_path: Path) -> None:
    key = keys.make("alice", INFER)
    secret = key.rpartition("_")[2].encode()
    files = list(tmp_path.iterdir())
    assert files
    assert not any(secret in file.read_bytes() for file in files)
    assert stat.S_IMODE((tmp_path / "keys.db").stat().st_mode) == 0o600
    assert secret.decode() not in repr(keys.listed())


def test_a_key_admits_to_its_scopes_only(keys: Keys) -> None:
    key = keys.make("alice", INFER)
    assert keys.admit(key, "infer").name == "alice"
    with pytest.raises(Forbidden, match="scope admin"):
        keys.admit(key, "admin")


@pytest.mark.parametrize("wrong", ["", None])
def test_who_brings_no_key_is_asked_for_one(keys: Keys, wrong: str | None) -> None:
    with pytest.raises(Unauthenticated):
        keys.admit(wrong, "infer")


def test_a_key_with_any_other_character_is_refused(keys: Keys) -> None:
    key = keys.make("alice", INFER)
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    for wrong in (
        changed,
        key + "x",
        key[:-1],
        key.upper(),
        "att_",
        "_" * 99,
        "\udcff",
        "x" * 9999,
    ):
        with pytest.raises(Forbidden, match="Invalid API key"):
            keys.admit(wrong, "infer")


def test_a_key_is_compared_in_constant_time(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    key, compared = keys.make("alice", INFER), []
    compare = keys_module.hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", counting)
    keys.admit(key, "infer")
    with pytest.raises(Forbidden):
        keys.admit("att_00000000_x", "infer")  # also where there is no such key
    assert [len(one) for pair in compared for one in pair] == [32] * 4


def test_a_revoked_key_is_refused_at_once_by_all_who_have_the_file_open(
    keys: Keys, tmp_path: Path
) -> None:
    worker = Keys(tmp_path / "keys.db")
    key = keys.make("alice", INFER)
    assert worker.admit(key, "infer")
    assert keys.revoke(worker.listed()[0].id)
    with pytest.raises(Forbidden):
        worker.admit(key, "infer")
    assert not keys.revoke("00000000")
    worker.close()


def test_a_rate_lets_so_many_through_at_once_and_then_one_by_one(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1e9
    monkeypatch.setattr(keys_module, "time", lambda: now_s)
    key = keys.make("alice", INFER, per_minute=6)
    other = Keys(tmp_path / "keys.db")  # another worker counts the same requests
    for turn in range(6):
        (keys, other)[turn % 2].admit(key, "infer")
    with pytest.raises(RateExceeded) as caught:
        other.admit(key, "infer")
    assert caught.value.detail == "the key allows 6 requests a minute"
    assert caught.value.retry_after() == 10
    now_s += 10
    keys.admit(key, "infer")
    with pytest.raises(RateExceeded):
        keys.admit(key, "infer")
    now_s -= 5_000  # a clock set back
    with pytest.raises(RateExceeded) as caught:
        keys.admit(key, "infer")
    assert caught.value.retry_after() == 10
    keys.admit(key, "infer", counted=False)
    other.close()


def test_a_quota_lasts_for_a_day_and_outlives_a_restart(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 86_400.0 * 10_000 + 80_000
    monkeypatch.setattr(keys_module, "time", lambda: now_s)
    key = keys.make("alice", INFER, per_day=2)
    for _ in range(2):
        keys.admit(key, "infer")
    again = Keys(tmp_path / "keys.db")
    with pytest.raises(RateExceeded, match="2 requests a day") as caught:
        again.admit(key, "infer")
    assert caught.value.retry_after() == 6_400
    now_s += 6_400
    again.admit(key, "infer")
    again.close()


def test_a_file_that_cannot_be_written_makes_the_service_unavailable(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "WAIT_S", 0.01)
    key, worker = keys.make("alice", INFER, per_day=2), Keys(tmp_path / "keys.db")
    with keys._written(), pytest.raises(Unavailable):
        worker.admit(key, "infer")
    worker.close()


def test_the_command_makes_lists_and_revokes_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke
    assert run(command, ["keys", "make", "alice"]).exit_code == 2  # nobody said where
    monkeypatch.setenv("ATTENDANT_KEYS_FILE", str(tmp_path / "keys.db"))
    assert run(command, ["keys", "list"]).exit_code == 1  # no such file yet
    made = run(command, ["keys", "make", "alice", "--scope", "admin", "--per-day", "9"])
    key = made.stdout.strip()
    listed = run(command, ["keys", "list"]).stdout
    assert key.split("_")[1] in listed
    assert "admin  -/min  9/day" in listed
    assert key.split("_")[2] not in listed
    keys = Keys(tmp_path / "keys.db")
    assert keys.admit(key, "admin").per_day == 9
    assert run(command, ["keys", "revoke", key.split("_")[1]]).exit_code == 0
    assert run(command, ["keys", "revoke", key.split("_")[1]]).exit_code == 1
    with pytest.raises(Forbidden):
        keys.admit(key, "admin")
    keys.close()


def test_a_service_does_not_start_with_a_file_of_keys_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Keys(tmp_path / "none.db")


def asking_for_keys(scenario: Any, path: Path, **settings: Any) -> None:
    keys = Keys(path, create=True)
    infer, admin = keys.make("alice", INFER), keys.make("root", ADMIN)
    limited = keys.make("bob", INFER, per_minute=1)

    async def with_keys(doors: Doors) -> None:
        await scenario(doors, {"infer": infer, "admin": admin, "limited": limited})

    with_doors(with_keys, Settings(threads=1, keys_file=path, **settings))
    keys.close()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
PATHS: dict[str, dict[str, Any]] = {
    "/shout": {"json": {"text": "a"}},
    "/v2/models/shout/infer": {"json": {"inputs": [TEXT]}},
    "/models/image-classification": {"content": b"no picture"},
    "/translate": {"json": {"q": "a", "source": "en", "target": "de"}},
    "/nothing": {},
}
"""One path of each surface; with a key the answer is not 401 or 403, whatever it is."""


@pytest.mark.parametrize("path", PATHS)
def test_every_surface_asks_for_a_key(path: str, tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        without = await doors.http.post(path, **PATHS[path])
        assert without.status_code == 401
        assert without.headers["www-authenticate"] == "Bearer"
        assert isinstance(without.json()["error"], str)
        for wrong in ("att_0_0", made["admin"]):
            refused = await doors.http.post(path, headers=bearer(wrong), **PATHS[path])
            assert refused.status_code == 403
        ways: tuple[dict[str, Any], ...] = (
            {"headers": bearer(made["infer"])},
            {"headers": {"x-api-key": made["infer"]}},
            {"params": {"api_key": made["infer"]}},
        )
        for way in ways:
            reply = await doors.http.post(path, **way, **PATHS[path])
            assert reply.status_code not in (401, 403), reply.text
            if path in ("/shout", "/v2/models/shout/infer"):
                assert reply.status_code == 200, reply.text

    asking_for_keys(scenario, tmp_path / "keys.db")


def test_a_page_with_no_secrets_and_the_probes_ask_for_no_key(tmp_path: Path) -> None:
    async def scenario(doors: Doors, _: dict[str, str]) -> None:
        for path in ("/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready", "/v2"):
            assert (await doors.http.get(path)).status_code == 200, path
        assert (await doors.http.options("/translate")).status_code == 204
        assert (await doors.http.get("/download_file/none")).status_code == 404

    asking_for_keys(scenario, tmp_path / "keys.db")


@pytest.mark.parametrize(
    "how",
    [
        {"json": {"q": "a", "source": "en", "target": "de", "api_key": "KEY"}},
        {"data": {"q": "a", "source": "en", "target": "de", "api_key": "KEY"}},
        {"data": {"q": "a", "api_key": "KEY"}, "files": {"file": b"text"}},
    ],
)
def test_libretranslate_takes_its_key_from_the_body(how: dict[str, Any], tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        async def reply(key: str | None) -> httpx.Response:
            kind = "json" if "json" in how else "data"
            said = {name: value for name, value in how[kind].items() if key or name != "api_key"}
            said = {name: key if value == "KEY" else value for name, value in said.items()}
            return await doors.http.post("/translate", **{**how, kind: said})

        assert (await reply(None)).status_code == 401
        wrong = await reply("att_0_0")
        assert (wrong.status_code, wrong.json()["error"]) == (403, "Invalid API key")
        assert (await reply(made["infer"])).status_code not in (401, 403)
        listed = await doors.http.request("GET", "/languages", data={"api_key": made["infer"]})
        assert listed.status_code not in (401, 403)  # a GET with a body, as libretranslatepy sends

    asking_for_keys(scenario, tmp_path / "keys.db")


def test_a_key_that_is_used_up_says_when_to_come_back(tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        async def ask() -> httpx.Response:
            return await doors.http.post(
                "/shout", json={"text": "a"}, headers=bearer(made["limited"])
            )

        assert (await ask()).status_code == 200
        over = await ask()
        assert over.status_code == 429
        assert over.json()["detail"] == "the key allows 1 requests a minute"
        assert 50 <= int(over.headers["retry-after"]) <= 60
        metadata = await doors.http.get("/v2/models/shout", headers=bearer(made["limited"]))
        assert metadata.status_code == 200  # reading about a model is not counted

    asking_for_keys(scenario, tmp_path / "keys.db")


def test_models_are_loaded_and_metrics_read_with_a_key_of_scope_admin_only(tmp_path: Path) -> None:
    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        for method, path in (("GET", "/metrics"), ("POST", "/v2/repository/models/shout/unload")):
            assert (await doors.http.request(method, path)).status_code == 401
            refused = await doors.http.request(method, path, headers=bearer(made["infer"]))
            assert refused.status_code == 403
            reply = await doors.http.request(method, path, headers=bearer(made["admin"]))
            assert reply.status_code == 200

    asking_for_keys(scenario, tmp_path / "keys.db")


INFERENCE = "/inference.GRPCInferenceService/"
SHOUT = pb.ModelInferRequest(
    model_name="shout",
    inputs=[
        {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
    ],
)


@pytest.mark.parametrize("method", [INFERENCE + "ModelInfer", "/attendant.v1.Attendant/Shout"])
def test_grpc_calls_ask_for_a_key(method: str, tmp_path: Path) -> None:
    message = SHOUT.SerializeToString() if "inference" in method else b"\x12\x01a"

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


def test_no_line_of_the_log_and_no_metric_holds_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in logs.UNUSED:
        monkeypatch.setattr(logging, name, getattr(logging, name))
    root, ours = logging.getLogger(), logging.getLogger("attendant")
    before = (root.level, list(root.handlers), ours.level)
    seen: list[str] = []

    async def scenario(doors: Doors, made: dict[str, str]) -> None:
        logs.configure("json", "debug")
        for key in (made["infer"], made["limited"], made["limited"], made["infer"] + "wrong"):
            body = {"q": "a", "source": "en", "target": "de", "api_key": key}
            replies = [
                await doors.http.post("/shout", json={"text": "a"}, headers=bearer(key)),
                await doors.http.post("/shout", json={"text": "a"}, params={"api_key": key}),
                await doors.http.post("/shout", content=b"{", headers=bearer(key)),
                await doors.http.post("/translate", json=body),
            ]
            seen.extend(reply.text + str(reply.headers) for reply in replies)
            call = doors.channel.unary_unary(INFERENCE + "ModelInfer")
            try:
                await call(SHOUT.SerializeToString(), metadata=(("api_key", key),))
            except grpc.aio.AioRpcError as error:
                seen.append(str(error.details()))
        reply = await doors.http.get("/metrics", headers=bearer(made["admin"]))
        seen.append(reply.text)
        for handler in root.handlers:
            handler.flush()
        seen.append(capsys.readouterr().err)
        for key in made.values():
            assert key.split("_", 2)[2] not in "".join(seen)
        assert '"door": "http"' in seen[-1]

    try:
        asking_for_keys(scenario, tmp_path / "keys.db")
    finally:
        root.setLevel(before[0])
        for handler in set(root.handlers) - set(before[1]):
            handler.close()
        root.handlers = before[1]
        ours.setLevel(before[2])
    assert json.loads(seen[-1].splitlines()[0])
