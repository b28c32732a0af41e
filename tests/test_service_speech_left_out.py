"""Speech that a text leaves out is found: behind its end, and within a time too long for it."""

from pathlib import Path

import numpy as np
import pytest
from fake_whisper import Scripted, folder_of, said, windows_of

from service.decoder import complete
from service.speech.left_out import resumed
from service.tasks import automatic_speech_recognition as task

FIRST = 1_000
LOUD = np.ones((80, 3_000), np.float32)


def tokens(*parts: float | int) -> list[int]:
    """Seconds as floats; as many tokens of text as an int says."""
    found: list[int] = []
    for part in parts:
        found += [FIRST + round(part * 50)] if isinstance(part, float) else [7] * part
    return found


@pytest.mark.parametrize(
    ("given", "duration_s", "at_s"),
    [
        (tokens(0.0, 12, 4.0), 10.0, 4.0),
        (tokens(0.0, 12, 4.0), 5.5, 0.0),
        (tokens(0.0, 12, 4.0, 4.0, 12, 9.5), 10.0, 0.0),
        (tokens(0.0, 12, 4.0, 4.0, 9), 10.0, 0.0),
        (tokens(12), 10.0, 0.0),
        ([], 10.0, 0.0),
    ],
)
def test_an_end_without_text_is_gone_back_to(
    given: list[int], duration_s: float, at_s: float
) -> None:
    stand, at = resumed(given, first=FIRST, duration_s=duration_s, features=LOUD)
    assert stand == given
    assert at == round(50 * at_s)


def test_a_text_too_short_for_its_time_ends_at_the_next_pause() -> None:
    features = LOUD.copy()
    features[:, 450:480] = 0
    given = tokens(0.0, 9, 3.0, 3.0, 2, 15.0, 15.0, 40, 29.0)
    stand, at = resumed(given, first=FIRST, duration_s=30.0, features=features)
    assert at / 50 == pytest.approx(4.65, abs=0.06)
    assert stand == [*tokens(0.0, 9, 3.0, 3.0, 2), FIRST + at]


def test_a_long_text_of_too_few_tokens_is_sparse_and_a_slow_one_is_not() -> None:
    features = LOUD.copy()
    features[:, 700:730] = 0
    slow, sparse = tokens(0.0, 15, 7.0), tokens(0.0, 21, 20.0)
    assert resumed(slow, first=FIRST, duration_s=7.5, features=LOUD) == (slow, 0)
    _, at = resumed(sparse, first=FIRST, duration_s=20.0, features=features)
    assert at / 50 == pytest.approx(7.15, abs=0.06)


def test_a_time_between_two_texts_is_gone_back_to() -> None:
    given = tokens(0.0, 12, 4.0, 9.0, 12, 13.0)
    assert resumed(given, first=FIRST, duration_s=13.0, features=LOUD) == (given[:14], 200)
    near = tokens(0.0, 12, 4.0, 5.5, 12, 9.5)
    assert resumed(near, first=FIRST, duration_s=9.5, features=LOUD) == (near, 0)


def test_a_sparse_text_at_the_very_end_has_no_pause_to_look_for() -> None:
    given = tokens(25.9, 2, 30.0)
    _, at = resumed(given, first=FIRST, duration_s=30.0, features=LOUD[:, :2_650])
    assert 25.9 < at / 50 < 30


def test_what_is_left_out_is_transcribed_too_where_it_is_known_to_be_speech(
    tmp_path: Path,
) -> None:
    assets = task.load_assets(folder_of(tmp_path))
    script = {
        (0, 0): said(assets, 0.0, " One man.", 4.0),
        (0, 400): said(assets, 0.0, " Another.", 5.8),
    }
    (item,) = windows_of(10.0)
    item["prompt"] = np.array([assets.start])
    runner = Scripted(assets, script)
    for known, text in (({}, ["One man."]), ({"speech": np.array(True)}, ["One man.", "Another."])):
        (row,) = complete(runner, task.encode, [task.generate({**item, **known}, assets)])
        answer = task.postprocess(task.Request(audio=b"-"), assets, [item], [row])
        assert [segment.text for segment in answer.segments] == text
    assert (answer.segments[1].start_s, answer.segments[1].end_s) == (4.0, 9.8)
