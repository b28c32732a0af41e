"""An imported Whisper says what the library says, or it is said where and why it does not."""

from itertools import islice
from pathlib import Path

import pytest

from export.agreement.words import NEAR_TIE, Heard, check, listen, rates
from export.imported import import_model
from export.refusal import Refusal
from models.datasets import librispeech
from models.origin import locate

RECORDINGS = 3


def heard(ours: str, theirs: str, margin: float | None = None) -> Heard:
    return Heard("test 1", "one two three four", ours, theirs, margin, "token 2: 'a', not 'b'")


def test_error_rates_of_both_are_those_of_all_recordings() -> None:
    found = [heard("one two three four", "one two"), heard("one two", "one two three four five")]
    assert rates(found) == (25.0, 37.5)


def test_near_ties_are_the_same_words_and_others_are_refused() -> None:
    same = [heard("one two three four", "one two three four")] * 500
    check([*same, heard("one two three fore", "one two three four", NEAR_TIE / 2)])
    with pytest.raises(Refusal, match=r"no near ties: test 1: token 2: 'a', not 'b' by 0\.5"):
        check([*same, heard("one two three fore", "one two three four", 0.5)])


def test_error_rates_that_differ_are_refused() -> None:
    with pytest.raises(Refusal, match=r"word error rate 25\.00 instead of 0\.00"):
        check([heard("one two three fore", "one two three four", NEAR_TIE / 2)])


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::Warning:transformers.*", "ignore:Recommended")
def test_whisper_says_the_words_of_the_library(data_dir: Path, tmp_path: Path) -> None:
    import_model("whisper-tiny.en", name="tiny", out=tmp_path)
    examples = islice(librispeech.examples(data_dir, "test"), RECORDINGS)
    found = list(listen(locate("whisper-tiny.en").folder.path, tmp_path / "tiny", examples))
    assert len(found) == RECORDINGS
    check(found)
    assert rates(found)[0] < 25
