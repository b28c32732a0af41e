"""The admin port and encrypted doors of a whole service, asked by clients from outside."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from bentoml._internal.configuration.containers import BentoMLContainer
from fake_doors import served
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError

from service.access.admin import administration
from service.access.keys import Keys
from service.gate import Gate
from service.http import pages
from service.settings import Settings

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from service.settings import Settings
from service.supervisor import Supervisor
sys.exit(Supervisor(Settings()).run(lambda: print("ready", flush=True)))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(**settings: str) -> Iterator[tuple[int, int]]:
    """A service without models in processes of its own, and its two ports."""
    http, rpc = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={
            **os.environ,
            **settings,
            "HTTP_PORT": str(http),
            "GRPC_PORT": str(rpc),
            "BENTOML_HOME": str(BentoMLContainer.bentoml_home.get()),
            "BENTOML_DO_NOT_TRACK": "True",
            "OTEL_SDK_DISABLED": "true",
            "ATTENDANT_LAME_DUCK_S": "0",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield http, rpc
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def asked(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def test_with_a_port_of_their_own_metrics_and_status_are_nowhere_else() -> None:
    engine, _ = served(Settings(threads=1, admin_port=3001))
    admin = administration(engine, Gate(), None)
    for path in ("/metrics", "/status"):
        assert asked(admin, "GET", path).status_code == 200
        assert asked(pages(engine), "GET", path).status_code == 404
    asyncio.run(engine.close())


def test_the_admin_port_loads_unloads_and_reloads_and_infers_nothing() -> None:
    engine, _ = served(Settings(threads=1, admin_port=3001))
    admin = administration(engine, Gate(), None)
    assert asked(admin, "POST", "/v2/repository/models/shout/unload").status_code == 200
    index = asked(admin, "POST", "/v2/repository/index").json()
    assert {one["name"]: one["state"] for one in index}["shout"] == "UNAVAILABLE"
    assert asked(admin, "POST", "/admin/reload").json()["tasks"]["shout"] == "shout was unloaded"
    assert asked(admin, "POST", "/v2/models/weigh-thing/infer").status_code == 404
    said = {"parameters": {"file:1/model.onnx": "eA=="}}
    refused = asked(admin, "POST", "/v2/repository/models/shout/load", json=said)
    assert refused.status_code == 400
    asyncio.run(engine.close())


def test_with_keys_the_admin_port_asks_for_the_scope_admin(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.db", create=True)
    infer, admin = (keys.make("a", frozenset({scope})) for scope in ("infer", "admin"))
    engine, _ = served(Settings(threads=1, admin_port=3001, keys_file=tmp_path / "keys.db"))
    app = administration(engine, Gate(), keys)
    for path in ("/metrics", "/v2/models/stats"):
        assert asked(app, "GET", path).status_code == 401
        refused = asked(app, "GET", path, headers={"x-api-key": infer})
        assert refused.status_code == 403
        assert asked(app, "GET", path, headers={"x-api-key": admin}).status_code == 200
    assert asked(app, "GET", "/v2/health/live").status_code == 200
    keys.close()
    asyncio.run(engine.close())


def test_a_whole_service_asks_for_keys_and_is_administered_on_its_own_port(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.db", create=True)
    infer, admin = (keys.make("a", frozenset({scope})) for scope in ("infer", "admin"))
    port = free_port()
    named = {"ATTENDANT_KEYS_FILE": str(tmp_path / "keys.db"), "ATTENDANT_ADMIN_PORT": str(port)}
    with service(**named) as (http, rpc), httpx.Client() as client:
        url, text = f"http://127.0.0.1:{http}", {"text": "a", "source": "en", "target": "de"}
        assert client.post(f"{url}/translation", json=text).status_code == 401
        with_key = {"authorization": f"Bearer {infer}"}
        assert client.post(f"{url}/translation", json=text, headers=with_key).status_code == 503
        assert client.get(f"{url}/livez").status_code == 200
        assert client.get(f"{url}/metrics", headers={"x-api-key": admin}).status_code == 404
        watched = client.get(f"http://127.0.0.1:{port}/metrics", headers={"x-api-key": admin})
        assert "attendant_requests_total" in watched.text
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            call = channel.unary_unary("/attendant.v1.Attendant/Translate")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"")
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
    keys.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificates(authority: trustme.CA, folder: Path) -> dict[str, str]:
    ours = authority.issue_cert("localhost", "127.0.0.1")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {
        "ATTENDANT_TLS_CERT": str(folder / "cert.pem"),
        "ATTENDANT_TLS_KEY": str(folder / "key.pem"),
    }


@pytest.mark.parametrize("mutual", [False, True])
def test_all_doors_are_encrypted_and_ask_for_certificates_where_so_set(
    mutual: bool, authority: trustme.CA, tmp_path: Path
) -> None:
    port = free_port()
    named = {**certificates(authority, tmp_path), "ATTENDANT_ADMIN_PORT": str(port)}
    if mutual:
        named["ATTENDANT_TLS_CLIENT_CA"] = str(tmp_path / "ca.pem")
    client = authority.issue_cert("client@example.org")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    known = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    client.configure_cert(known)
    ca = authority.cert_pem.bytes()
    pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())

    def health(rpc: int, credentials: grpc.ChannelCredentials) -> Any:
        with grpc.secure_channel(f"localhost:{rpc}", credentials) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status

    with service(**named) as (http, rpc):
        urls = [f"https://127.0.0.1:{http}/livez", f"https://127.0.0.1:{port}/metrics"]
        for url in urls:
            assert httpx.get(url, verify=known).status_code == 200
            with pytest.raises(httpx.TransportError):
                httpx.get(url.replace("https", "http"))
            if mutual:
                with pytest.raises(httpx.TransportError):
                    httpx.get(url, verify=trusting)
            else:
                assert httpx.get(url, verify=trusting).status_code == 200
        assert health(rpc, grpc.ssl_channel_credentials(ca, *pair)) is not None
        anonymous = grpc.ssl_channel_credentials(ca)
        if mutual:
            with pytest.raises(grpc.RpcError):
                health(rpc, anonymous)
        else:
            assert health(rpc, anonymous) is not None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["tls_cert"], "go together"),
        (["tls_client_ca"], "needs tls_cert"),
        (["tls_cert", "tls_key"], "no file"),
    ],
)
def test_certificates_that_do_not_fit_stop_the_start(
    names: list[str], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.pem"
    if words != "no file":
        path.touch()
    with pytest.raises(ValidationError, match=words):
        Settings(**dict.fromkeys(names, path))
