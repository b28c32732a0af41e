"""A/B: blocks in turns, the same load for both of a pair, and what makes a comparison void."""

import pytest
from fake_results import SERVER, a_run, cell, histogram

from loadtests.lab.payloads import Payloads
from loadtests.lab.plan import Call
from loadtests.lab.run import Prepared, Target, Way
from loadtests.lab.runner import INTERRUPTED
from loadtests.results import Comparison, Run
from loadtests.verdict import ab


def side(url: str, *names: str) -> Prepared:
    calls = [
        Call(task=name.split()[0], door="REST", payload=0, target="/x", body=b"", headers={})
        for name in names
    ]
    payloads = Payloads(requests={}, described="examples")
    return Prepared(Target(url, ""), SERVER, calls, dict.fromkeys(names, 1.0), payloads)


A, B = side("http://a", "translation REST"), side("http://b", "translation REST")


def compared(
    monkeypatch: pytest.MonkeyPatch, void: dict[int, list[str]], lag_ms: float = 0.1
) -> tuple[Comparison, list[tuple[str, int]]]:
    """The comparison, and which side was measured with which seed; void: by number of a block."""
    asked: list[tuple[str, int]] = []

    def measure(prepared: Prepared, way: Way) -> Run:
        asked.append((prepared.target.url[-1], prepared.target.seed))
        run = a_run(cell(count=50), void=void.get(len(asked) - 3))
        run.send_lag = histogram(lag_ms, 50)
        return run

    monkeypatch.setattr(ab, "measure", measure)
    made = ab.compared(A, B, Way(duration_s=1), pairs=8, told=lambda line: None)
    return made, asked


def test_blocks_come_in_turns_in_random_order_with_the_same_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, asked = compared(monkeypatch, {})
    assert asked[:2] == [("a", 0), ("b", 0)]  # to warm up
    pairs = [asked[at : at + 2] for at in range(2, 18, 2)]
    assert [{name for name, _ in pair} for pair in pairs] == [{"a", "b"}] * 8
    assert [[seed for _, seed in pair] for pair in pairs] == [[pair] * 2 for pair in range(8)]
    assert {pair[0][0] for pair in pairs} == {"a", "b"}
    assert [(block.pair, block.side) for block in made.blocks] == [
        (seed, name) for name, seed in asked[2:]
    ]
    assert made.void == []


def test_ctrl_c_ends_it_and_makes_it_void(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = compared(monkeypatch, {3: [INTERRUPTED]})
    assert len(made.blocks) == 4
    assert [reason.partition(": ")[2] for reason in made.void] == [INTERRUPTED]


def test_wrong_answers_make_it_void_and_name_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = compared(monkeypatch, {0: ["3 of 50 answers are wrong"]})
    assert made.void == [f"pair 1, {asked[2][0].upper()}: 3 of 50 answers are wrong"]


def test_a_block_whose_generator_was_late_is_only_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = compared(monkeypatch, {}, lag_ms=500)
    assert all("requests left late" in block.late for block in made.blocks)
    assert made.void == []


def test_what_only_one_of_them_answers_makes_it_void(monkeypatch: pytest.MonkeyPatch) -> None:
    both = side("http://b", "translation REST", "image-classification REST")
    monkeypatch.setattr(ab, "measure", lambda prepared, way: a_run(cell(count=50)))
    made = ab.compared(A, both, Way(duration_s=1), pairs=8, told=lambda line: None)
    assert made.void == ["only one of the two answers image-classification REST"]
    assert ab.fewest(A, both) == 8
