"""Windows end in pauses, timestamps follow their grammar, and loops and gaps are noticed."""

from itertools import pairwise

import numpy as np
import pytest

from service.transcript import loop, text_rule, timed_texts, timestamp_rule, unheard, windows

END, FIRST, VOCAB = 10, 12, 12 + 1_501
RULE = timestamp_rule(first=FIRST, end=END, suppressed=np.array([3, 11]))


def at(time_s: float) -> int:
    return FIRST + round(time_s * 50)


def speech(seconds: float) -> np.ndarray:
    samples = np.random.default_rng(2).standard_normal(round(seconds * 16_000))
    return samples.astype(np.float32)


def allowed(*generated: int, liked: int | None = None) -> set[int]:
    """The tokens that may follow, by a model that finds all alike, or likes one best."""
    logits = np.zeros((1, VOCAB), np.float32)
    # Else the many timestamps together would always be likelier than any text.
    logits[:, :FIRST] = 20
    if liked is not None:
        logits[:, liked] = 40
    RULE(logits, [list(generated)])
    return set(np.flatnonzero(np.isfinite(logits[0])).tolist())


TEXT = set(range(FIRST)) - {3, 11}


def test_a_short_recording_is_one_window() -> None:
    assert windows(speech(30)) == [(0, 480_000)]
    assert windows(speech(0.1)) == [(0, 1_600)]


def test_windows_cover_everything_once_and_none_is_over_thirty_seconds() -> None:
    spans = windows(speech(200))
    assert spans[0][0] == 0
    assert spans[-1][1] == 200 * 16_000
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert all(24 * 16_000 < stop - start <= 480_000 for start, stop in spans[:-1])


def test_a_window_ends_in_the_pause() -> None:
    samples = speech(50)
    samples[round(26.4 * 16_000) : round(26.7 * 16_000)] *= 0.01
    (_, cut), _ = windows(samples)
    assert 26.45 <= cut / 16_000 <= 26.65


def test_a_pause_before_the_search_is_not_taken() -> None:
    samples = speech(50)
    samples[10 * 16_000 : 11 * 16_000] = 0
    (_, cut), _ = windows(samples)
    assert cut > 24 * 16_000


def test_of_equal_pauses_the_last_is_taken() -> None:
    (_, cut), _ = windows(np.zeros(40 * 16_000, np.float32))
    assert cut == round(29.9 * 16_000)


def test_text_begins_with_a_timestamp_of_at_most_a_second() -> None:
    assert allowed() == set(range(at(0), at(1) + 1))


def test_text_follows_the_first_timestamp() -> None:
    assert allowed(at(0.5)) == TEXT


def test_text_without_timestamps_is_all_text_and_ends_when_it_loops() -> None:
    rule = text_rule(
        first=FIRST, end=END, suppressed=np.array([3, 11]), suppressed_first=np.array([5])
    )
    logits = np.zeros((3, VOCAB), np.float32)
    rule(logits, [[], [1, 2], [7] * 40])
    begins, goes_on, loops = (set(np.flatnonzero(np.isfinite(row)).tolist()) for row in logits)
    assert begins == TEXT - {5}
    assert goes_on == TEXT
    assert loops == {END}


def test_open_text_goes_on_or_ends_later_than_it_began() -> None:
    assert allowed(at(0.5), 1) == TEXT | set(range(at(0.52), VOCAB))


def test_ended_text_is_followed_by_the_end_or_a_timestamp_that_is_not_earlier() -> None:
    following = allowed(at(0), 1, at(2), liked=END)
    assert following == {END, *range(at(2), VOCAB)}


def test_text_follows_a_doubled_timestamp() -> None:
    assert allowed(at(0), 1, at(2), at(2.5)) == TEXT


def test_suppressed_tokens_never_come() -> None:
    for generated in ([], [at(0)], [at(0), 1], [at(0), 1, at(1)], [at(0), 1, at(1), at(1)]):
        assert not {3, 11} & allowed(*generated)


def test_timestamps_that_are_likelier_together_than_any_token_are_taken() -> None:
    logits = np.full((2, VOCAB), -20, np.float32)
    logits[:, 5] = 2.0
    logits[0, at(1) : at(1) + 10] = 0.0  # log 10 = 2.3 together
    logits[1, at(1) : at(1) + 5] = 0.0  # log 5 = 1.6 together
    RULE(logits, [[at(0), 1], [at(0), 1]])
    assert not np.isfinite(logits[0, :FIRST]).any()
    assert logits[1].argmax() == 5


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_model_says_keeps_to_the_grammar(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows: list[list[int]] = [[] for _ in range(32)]
    for _ in range(60):
        logits = rng.standard_normal((32, VOCAB)).astype(np.float32)
        logits[:, :FIRST] += 8
        RULE(logits, rows)
        for row, token in zip(rows, logits.argmax(axis=1).tolist(), strict=True):
            if not row or row[-1] != END:
                row.append(token)
        rows = [row for row in rows if row[-1] != END] or rows
        if rows[0][-1] == END:
            break
        rows += [[] for _ in range(32 - len(rows))]
    for row in rows:
        times = [token for token in row if token >= FIRST]
        assert times == sorted(times)
        marks = "".join("t" if token >= FIRST else "w" for token in row)
        assert marks == "" or marks[0] == "t"
        assert "ttt" not in marks
        assert "wtw" not in marks


def test_text_that_loops_is_ended() -> None:
    assert allowed(at(0), *[5] * 16) == {END}
    assert allowed(at(0), *[5, 6, 7, 8, 9] * 4) == {END}


@pytest.mark.parametrize(
    ("text", "looped"),
    [
        ([5] * 16, 5),
        ([5] * 15, None),
        ([1, 2, *[5, 6] * 8], 5),
        ([5, 6, 7, 8] * 4, 5),
        ([*[5, 6, 7, 8] * 3, 9], None),
        ([at(0), 5, 6, 7, 8, at(1), at(1)] * 4, 5),
        (list(range(10)) * 4, 0),
        (list(range(10)) * 3, None),
        ([], None),
    ],
)
def test_a_loop_is_a_phrase_four_times_over_sixteen_tokens(
    text: list[int], looped: int | None
) -> None:
    assert loop(text, first=FIRST) == looped


def test_texts_stand_between_their_timestamps() -> None:
    tokens = [at(0), 1, 2, at(2), at(2.5), 4, at(5)]
    texts = timed_texts(tokens, first=FIRST, duration_s=8)
    assert texts == [(0, 2, [1, 2]), (2.5, 5, [4])]


def test_a_text_without_an_end_lasts_to_the_end() -> None:
    assert timed_texts([at(1), 1], first=FIRST, duration_s=8) == [(1, 8, [1])]


def test_times_do_not_go_over_the_end() -> None:
    assert timed_texts([at(1), 1, at(9)], first=FIRST, duration_s=8) == [(1, 8, [1])]


def test_no_tokens_are_no_texts() -> None:
    assert timed_texts([], first=FIRST, duration_s=8) == []
    assert timed_texts([at(0)], first=FIRST, duration_s=8) == []


@pytest.mark.parametrize(
    ("tokens", "rest"),
    [
        ([at(0), 1, at(3), at(3)], 150),
        ([at(0), 1, at(3)], 0),
        ([at(0), 1], 0),
        ([at(0), 1, at(7.7), at(7.7)], 0),
        ([], 0),
    ],
)
def test_a_doubled_last_timestamp_says_that_more_follows(tokens: list[int], rest: int) -> None:
    assert unheard(tokens, first=FIRST, duration_s=8) == rest
