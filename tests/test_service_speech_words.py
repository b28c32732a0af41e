"""Tokens of a text → words: spaces, scripts without them, marks, and silence at the ends."""

from pathlib import Path

import pytest
from fake_whisper import folder_of, said

from service.speech.words import parts, timed_words
from service.tasks import automatic_speech_recognition as task


@pytest.fixture
def assets(tmp_path: Path) -> task.Assets:
    return task.load_assets(folder_of(tmp_path))


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        (" Good day, sir.", "en", [" Good", " day,", " sir."]),
        (' He said "no" (twice)!', "en", [" He", " said", ' "no"', " (twice)!"]),
        ("no space first", "en", ["no", " space", " first"]),
        (" Über café", "de", [" Über", " café"]),
        ("你好。", "zh", ["你", "好。"]),
        (" 3.14 - 2", "en", [" 3.14", " -", " 2"]),
        ("", "en", []),
    ],
)
def test_words_keep_the_spaces_before_them_and_their_marks(
    assets: task.Assets, text: str, language: str, words: list[str]
) -> None:
    tokens = said(assets, text)
    found = parts(tokens, assets.tokenizer, language)
    assert [word for word, _ in found] == words
    assert sum(count for _, count in found) == len(tokens)


def test_a_text_that_ends_within_a_character_loses_no_token(assets: task.Assets) -> None:
    tokens = said(assets, " é")[:-1]
    found = parts(tokens, assets.tokenizer, "en")
    assert sum(count for _, count in found) == len(tokens)


def test_words_at_the_ends_leave_out_the_silence(assets: task.Assets) -> None:
    tokens = said(assets, " a b c d")
    times_s = [0.0, 0.0, 3.0, 3.0, 3.2, 3.2, 3.4, 3.4, 9.0]
    words = timed_words(tokens, times_s, assets.tokenizer, "en")
    assert [word.text for word in words] == ["a", "b", "c", "d"]
    assert words[0].end_s == 3.0
    assert words[0].start_s > 1.5
    assert words[-1].start_s == 3.4
    assert words[-1].end_s < 5


def test_words_without_length_stay(assets: task.Assets) -> None:
    tokens = said(assets, " a")
    (word,) = timed_words(tokens, [1.0, 1.0, 1.0], assets.tokenizer, "en")
    assert (word.start_s, word.end_s) == (1.0, 1.0)
