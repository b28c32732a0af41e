"""A file of API keys: who may do what and how often, and that it holds no key."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_keys import INFER
from typer.testing import CliRunner

from service.__main__ import app as command
from service.access import keys as keys_module
from service.access.keys import Keys
from service.errors import Forbidden, RateExceeded, Unauthenticated, Unavailable


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
