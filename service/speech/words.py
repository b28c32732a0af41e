"""tokens of a text and when each begins → its words with their times.

A word begins with a space, as it does in most scripts, and keeps the punctuation at its sides;
where no spaces are written every character is one. The languages and the marks are those of
openai/whisper, whisper/tokenizer.py and timing.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tokenizers import Tokenizer

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Marks that belong to the character before them."""
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What decoding gives for a part of a character."""
LONGEST_MEDIANS = 2.0
LONGEST_MEDIAN_S = 0.7
"""At the ends of a text a word takes up the silence: there it lasts at most so many times as long
as the words do in the median, which counts for at most so much."""


@dataclass(frozen=True)
class Word:
    """Written without the space before it; times in seconds."""

    start_s: float
    end_s: float
    text: str


def characters(tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[str, int]]:
    """Texts of whole characters, and how many tokens each is made of."""
    known = BROKEN in tokenizer.decode(list(tokens))
    begin = 0
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(list(tokens[begin:end]))
        # A text may end in the middle of a character, and hold one that stands for nothing.
        if BROKEN not in text or (known and end == len(tokens)):
            yield text, end - begin
            begin = end


def parts(tokens: Sequence[int], tokenizer: Tokenizer, language: str) -> list[tuple[str, int]]:
    """Words with the spaces before them, and how many tokens each is made of."""
    found: list[tuple[str, int]] = []
    for text, count in characters(tokens, tokenizer):
        begins = text.startswith(" ") or (language in UNSPACED and text not in CLOSING)
        if begins or not found:
            found.append((text, count))
        else:
            before, counted = found[-1]
            found[-1] = (before + text, counted + count)
    return found


def timed_words(
    tokens: Sequence[int], times_s: Sequence[float], tokenizer: Tokenizer, language: str
) -> list[Word]:
    """Words of a text; `times_s` are when each token begins, and when the last one ends."""
    found, begin = list[Word](), 0
    for text, count in parts(tokens, tokenizer, language):
        end = begin + count
        if text.strip():
            found.append(Word(times_s[begin], times_s[end], text.strip()))
        begin = end
    return _without_silence(found)


def _without_silence(found: list[Word]) -> list[Word]:
    """The first word begins later, and the last one ends sooner, where they are too long."""
    lasting = [word.end_s - word.start_s for word in found if word.end_s > word.start_s]
    if not lasting:
        return found
    most_s = LONGEST_MEDIANS * min(LONGEST_MEDIAN_S, median(lasting))
    first, last = found[0], found[-1]
    found[0] = Word(max(first.start_s, first.end_s - most_s), first.end_s, first.text)
    if len(found) > 1:
        found[-1] = Word(last.start_s, min(last.end_s, last.start_s + most_s), last.text)
    return found
