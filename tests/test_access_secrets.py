"""Nobody ever reads a key: no line of the log, no metric and no answer holds one."""

import json
import logging
from pathlib import Path

import grpc
import pytest
from fake_doors import Doors
from fake_keys import INFERENCE, SHOUT, asking_for_keys, bearer

from service import logs


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
