"""Deadline and priority headers: what they mean, and which values are refused by name."""

import pytest

from service import headers
from service.errors import MalformedRequest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2H", 7200), ("3M", 180), ("10S", 10), ("500m", 0.5), ("250u", 25e-5), ("99999999n", 0.1)],
)
def test_a_timeout_has_a_number_and_a_unit(value: str, seconds: float) -> None:
    assert headers.timeout_s(value) == pytest.approx(seconds)


def test_nothing_said_is_no_timeout_and_no_preference() -> None:
    assert headers.timeout_s(None) is None
    assert headers.priority(None) == 0


@pytest.mark.parametrize(
    "value",
    ["", "5", "m", "0m", "-1S", "1.5S", "1 S", "1s", "1ms", "123456789S", "nan", "٣S", "1S\x00"],
)
def test_a_timeout_that_is_none_is_refused_with_its_header(value: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        headers.timeout_s(value)
    assert caught.value.field == "grpc-timeout"


@pytest.mark.parametrize(
    ("value", "priority"),
    [("u=0", 3), ("u=3", 0), ("u=7", -4), ("u=1, i", 2), ("i", 0), ("i, u=5;x=y", -2), ("", 0)],
)
def test_an_urgency_below_three_goes_first(value: str, priority: int) -> None:
    assert headers.priority(value) == priority


@pytest.mark.parametrize("value", ["u=8", "u=-1", "u", "u=", "u=1.0", "u=high", "u=77", "u=٣"])
def test_an_urgency_out_of_range_is_refused_with_its_header(value: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        headers.priority(value)
    assert caught.value.field == "priority"
