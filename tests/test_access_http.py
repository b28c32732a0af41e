"""Every path over HTTP asks for a key, but those that anybody may read."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_doors import Doors
from fake_keys import asking_for_keys, bearer

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
