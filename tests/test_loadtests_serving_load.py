"""Load that waits for nobody, the claims that may be made of it, and the search for the most."""

import asyncio
from typing import Any

import grpc
import pytest

from loadtests.door import Door
from loadtests.serving.bench import search
from loadtests.serving.bench.search import Terms, Trial, best, highest, trial
from loadtests.serving.calls import PROBLEM, Kind, Reply, of_grpc, of_http
from loadtests.serving.goldens import Golden, same
from loadtests.serving.open_load import Sample, lag_ms, offer, poisson
from loadtests.serving.streams import differing
from loadtests.validity import most_late, requests_needed

ANSWERED = Reply(Kind.ANSWERED, {})


@pytest.mark.parametrize(
    ("percentile", "needed"),
    [(0.9, [44, 64, 81, 127]), (0.99, [459, 662, 838, 1307]), (0.999, [4603, 6636, 8403, 13105])],
)
def test_a_percentile_needs_as_many_requests_as_in_mlperfs_rules(
    percentile: float, needed: list[int]
) -> None:
    assert [requests_needed(late, percentile) for late in (0, 1, 2, 5)] == needed


def test_as_many_may_be_late_as_the_requests_allow() -> None:
    assert [most_late(number) for number in (458, 459, 661, 662, 838)] == [-1, 0, 0, 1, 2]


def test_poisson_arrivals_have_their_rate_and_come_again_with_their_seed() -> None:
    moments = poisson(50, 100, seed=1)
    assert moments == sorted(moments) == poisson(50, 100, seed=1) != poisson(50, 100, seed=2)
    assert 4_500 < len(moments) < 5_500
    assert moments[-1] < 100


def test_requests_leave_when_they_are_due_while_others_wait_and_time_counts_from_then() -> None:
    async def slow(index: int) -> Reply:
        await asyncio.sleep(0.2)
        return ANSWERED

    samples = asyncio.run(offer([0.0, 0.05, 0.1], slow))
    assert len(samples) == 3
    assert all(0.15 < sample.latency_s < 1 for sample in samples)
    assert max(sample.done_s for sample in samples) < 1
    assert lag_ms([Sample(0, 1.0, 1.5, 2.0, ANSWERED)]) == pytest.approx(500)


def test_load_ends_early_when_enough_is_known() -> None:
    async def quick(index: int) -> Reply:
        return ANSWERED

    moments = [0.01 * number for number in range(100)]
    samples = asyncio.run(offer(moments, quick, enough=lambda done, _: len(done) >= 5))
    assert 5 <= len(samples) < 20


class Server:
    """Answers one request at a time."""

    def __init__(self, service_s: float) -> None:
        self.service_s = service_s
        self.lock = asyncio.Lock()

    async def ask(self, _: int) -> Reply:
        async with self.lock:
            await asyncio.sleep(self.service_s)
        return ANSWERED


def test_a_rate_holds_below_what_a_server_can_do_and_fails_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terms = Terms(bound_s=1.5, duration_s=1.0, seed=0, percentile=0.9)
    monkeypatch.setattr(search, "LAG_MS", 1_000)  # a busy machine is not what is tested

    async def both() -> tuple[Trial, Trial]:
        below = await trial(Server(0.002).ask, 60, terms)
        return below, await trial(Server(0.1).ask, 60, terms)

    below, above = asyncio.run(both())
    assert below.held
    assert below.late == 0
    assert not above.held
    assert above.late > 0


def test_a_trial_ends_once_too_many_wait_longer_than_the_bound() -> None:
    async def never(index: int) -> Reply:
        await asyncio.sleep(60)
        return ANSWERED

    seen = asyncio.run(trial(never, 50, Terms(0.1, 20.0, 0, percentile=0.9)))
    assert not seen.held
    assert seen.late > 0
    assert seen.sent == 0


def test_a_stream_has_to_tell_the_texts_of_its_answer() -> None:
    answer = {"translations": [{"text": "Ja. Nein."}, {"text": "Gut."}]}
    partials: list[dict[str, Any]] = [
        {"index": 0, "text": "Ja."},
        {"index": 0, "text": " Nein."},
        {"index": 1, "text": "Schlecht"},
        {"index": 1, "text": "Gut.", "replaces": True},
    ]
    assert not differing(partials, answer)
    assert "Schlecht" in differing(partials[:3], answer)
    assert not differing([{"text": "Guten Tag."}], {"text": "Guten Tag."})


def test_errors_are_late() -> None:
    async def refuse(index: int) -> Reply:
        return Reply(Kind.REFUSED)

    seen = asyncio.run(trial(refuse, 100, Terms(1.0, 0.5, 0, percentile=0.9)))
    assert not seen.held
    assert seen.late == seen.sent > 0


@pytest.mark.parametrize("start_per_s", [1.0, 10.0, 300.0])
def test_the_search_ends_near_the_highest_rate_wherever_it_begins(start_per_s: float) -> None:
    async def attempt(rate_per_s: float) -> Trial:
        return Trial(rate_per_s, 500, 0, 1.0, 1.0, 0.0, held=rate_per_s <= 42)

    found = best(asyncio.run(highest(attempt, start_per_s, 1.05)))
    assert found is not None
    assert 40 <= found.rate_per_s <= 42


def test_a_server_that_holds_no_rate_has_no_best_one() -> None:
    async def attempt(rate_per_s: float) -> Trial:
        return Trial(rate_per_s, 500, 500, 1.0, 1.0, 0.0, held=False)

    assert best(asyncio.run(highest(attempt, 4.0, 1.05))) is None


@pytest.mark.parametrize(
    ("status", "media", "kind"),
    [
        (422, PROBLEM, Kind.INVALID),
        (429, PROBLEM, Kind.REFUSED),
        (503, PROBLEM, Kind.REFUSED),
        (504, PROBLEM, Kind.EXPIRED),
        (500, PROBLEM, Kind.FAILED),
        (503, "text/html", Kind.FAILED),
    ],
)
def test_http_replies_are_sorted_by_status_and_form(status: int, media: str, kind: Kind) -> None:
    assert of_http(status, media, b"{}").kind is kind


def test_grpc_tells_nobody_there_from_cut_off_and_from_refused() -> None:
    code = grpc.StatusCode.UNAVAILABLE
    assert of_grpc(code, "failed to connect to all addresses; x").kind is Kind.UNREACHABLE
    assert of_grpc(code, "recvmsg:Connection reset by peer").kind is Kind.LOST
    assert of_grpc(code, "the service is shutting down").kind is Kind.REFUSED
    assert of_grpc(grpc.StatusCode.INTERNAL, "x").kind is Kind.FAILED


def test_answers_are_the_same_but_for_times_and_last_digits() -> None:
    golden: dict[str, Any] = {"labels": [{"label": "cat", "score": 0.9}], "timings_ms": {"a": 1}}
    near = {"labels": [{"label": "cat", "score": 0.901}], "timings_ms": {"a": 7}, "model": "x:2"}
    assert same(near, golden)
    assert not same({"labels": [{"label": "dog", "score": 0.9}]}, golden)
    assert not same({"labels": []}, golden)
    wrong = Golden(Door.REST, Any, golden).wrong  # type: ignore[arg-type]
    assert not wrong(Reply(Kind.REFUSED))
