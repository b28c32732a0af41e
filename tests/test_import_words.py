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
    return Heard("test 1", "the black cat sat down", ours, theirs, margin, "token 2: 'a', not 'b'")


def test_error_rates_of_both_are_those_of_all_recordings() -> None:
    found = [heard("the black cat sat down", "the black"), heard("the", "the black cat sat up")]
    assert rates(found) == (40.0, 40.0)


def test_near_ties_are_the_same_words_and_others_are_refused() -> None:
    same = [heard("the black cat sat down", "the black cat sat down")] * 500
    check([*same, heard("the black cat sat up", "the black cat sat down", NEAR_TIE / 2)])
    with pytest.raises(Refusal, match=r"no near ties: test 1: token 2: 'a', not 'b' by 0\.5"):
        check([*same, heard("the black cat sat up", "the black cat sat down", 0.5)])


def test_error_rates_that_differ_are_refused() -> None:
    with pytest.raises(Refusal, match=r"word error rate 20\.00 instead of 0\.00"):
        check([heard("the black cat sat up", "the black cat sat down", NEAR_TIE / 2)])


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::Warning:transformers.*", "ignore:Recommended")
def test_whisper_says_the_words_of_the_library(data_dir: Path, tmp_path: Path) -> None:
    import_model("whisper-tiny.en", name="tiny", out=tmp_path)
    examples = islice(librispeech.examples(data_dir, "test"), RECORDINGS)
    found = list(listen(locate("whisper-tiny.en").folder.path, tmp_path / "tiny", examples))
    assert len(found) == RECORDINGS
    check(found)
    assert rates(found)[0] < 25
