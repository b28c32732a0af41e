"""What another server's API costs is the median of ratios within rounds, and a miss is a miss."""

import pytest

from loadtests.serving import first
from loadtests.serving.doors.clients import Load
from loadtests.serving.surfaces import WAYS, Way, binary, parted, rows

NATIVE = Way("task", "REST", b"", b"", native="")
OTHER = Way("task", "other", b"", b"")


def load(rate: float) -> Load:
    return Load(1, [0.001] * int(rate))


@pytest.mark.parametrize(("rates", "met"), [((95, 91, 50), "yes"), ((95, 89, 88), "no")])
def test_a_surface_is_held_against_our_door_in_the_same_rounds(
    rates: tuple[int, ...], met: str
) -> None:
    seen = {NATIVE: [load(100)] * 3, OTHER: [load(rate) for rate in rates]}
    (own, other) = rows(seen)
    assert own.met == "shown"
    assert other.met == met


def test_every_surface_is_held_against_a_door_that_is_asked() -> None:
    doors = {(way.task, way.surface) for way in WAYS if not way.native}
    assert {(way.task, way.native) for way in WAYS if way.native} <= doors


def test_a_request_is_told_apart_as_it_was_made() -> None:
    made = binary("m", "x", "FP32", [1], b"\x00\x00\x80?")
    path, headers, body = parted(Way("task", "OIP", made, b""))
    assert path == "/v2/models/m/infer"
    length = int(headers["Inference-Header-Content-Length"])
    assert body[length:] == b"\x00\x00\x80?"
    assert b"binary_data_size" in body[:length]


@pytest.mark.parametrize(("took_ms", "met"), [([900, 499, 100], "yes"), ([100, 501, 501], "no")])
def test_the_first_text_is_judged_by_its_median(took_ms: list[float], met: str) -> None:
    assert first.row("live speech", took_ms, 500).met == met
