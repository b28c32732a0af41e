"""What the generator can do is shown by commands, and other tools are read rightly."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.__main__ import app
from loadtests.lab import others, proof
from loadtests.lab.plan import Call

WRK = "Running 5s test\n  1 threads\nRequests/sec:    779.25\nTransfer/sec: 101KB\n"
HEY = (
    "Summary:\n  Requests/sec:\t342.0799\n  0.011 [396]\t|\n"
    "Status code distribution:\n  [200]\t688 responses\n"
)
H2LOAD = (
    "finished in 2.00s, 349.50 req/s, 45.74KB/s\n"
    "requests: 699 total, 699 succeeded, 0 failed, 0 errored, 0 timeout\n"
)


@pytest.mark.parametrize(
    ("tool", "said", "per_s"),
    [("wrk", WRK, 779.25), ("hey", HEY, 342.0799), ("h2load", H2LOAD, 349.5)],
)
def test_the_rate_is_read_in_a_tools_words(tool: str, said: str, per_s: float) -> None:
    assert others.read(tool, said) == per_s


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("wrk", WRK + "  Non-2xx or 3xx responses: 7\n"),
        ("hey", HEY + "  [503]\t3 responses\n"),
        ("h2load", H2LOAD.replace("0 failed", "10 failed")),
        ("wrk", "unable to connect"),
    ],
)
def test_requests_that_went_wrong_are_no_rate(tool: str, said: str) -> None:
    with pytest.raises(others.Unread, match=tool):
        others.read(tool, said)


def test_tools_are_held_against_ours_at_the_same_point() -> None:
    seen = {"this generator": [100.0, 98.0, 103.0], "wrk": [109, 108, 150], "hey": [111, 112, 90]}
    assert [row.met for row in proof.compared(seen, "8 callers")] == ["yes", "yes", "no"]


def test_the_send_lag_is_shown_for_each_door() -> None:
    told = CliRunner().invoke(app, ["prove", "lag", "--rate", "50", "--duration", "1"])
    assert told.exit_code in (0, 1), told.output
    for words in ("REST", "gRPC", "cores", "lag p50", "p99 under 5 ms"):
        assert words in told.output


@pytest.mark.parametrize("tool", others.PACKAGES)
def test_an_installed_tool_measures_the_same_server(
    tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tool not in others.installed():
        pytest.skip(f"{tool} is not installed")
    monkeypatch.setattr(others, "installed", lambda: [tool])
    options = ["--users", "2", "--delay", "50", "--duration", "1", "--rounds", "1"]
    told = CliRunner().invoke(app, ["prove", "agreement", *options])
    assert told.exit_code in (0, 1), told.output
    assert f"2 callers: {tool}" in told.output


def test_without_any_tool_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "installed", list)
    told = CliRunner().invoke(app, ["prove", "agreement"])
    assert told.exit_code == 2
    assert "nghttp2-client" in told.stderr


def test_the_files_of_a_request_hold_it_unchanged(tmp_path: Path) -> None:
    body = bytes(range(256))
    call = Call(
        task="a", door="REST", target="/a", body=body, headers={"Content-Type": "image/jpeg"}
    )
    asked = others.Asked.of(call, "http://127.0.0.1:1", tmp_path)
    assert asked.url == "http://127.0.0.1:1/a"
    assert asked.body.read_bytes() == body
    assert "image/jpeg" in asked.script.read_text()
