"""transcripts of a window that grows → the words that will stay, and those that may change.

A word stays once two transcripts in a row agree on it and on all before it: LocalAgreement-2 of
Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition", as in Macháček et al. 2023.
"""


def _plain(word: str) -> str:
    """A word as it is compared: the comma behind it may come and go."""
    return "".join(letter for letter in word.casefold() if letter.isalnum())


class Agreement:
    """The transcripts of one utterance so far."""

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._last: list[str] = []

    @property
    def heard(self) -> bool:
        """The last transcript had words."""
        return bool(self._last)

    def add(self, text: str) -> tuple[str, str]:
        """What stays and what is tentative behind it, after one transcript more."""
        words = text.split()
        agreed = 0
        for before, now in zip(self._last, words, strict=False):
            if _plain(before) != _plain(now):
                break
            agreed += 1
        self._stable += words[len(self._stable) : agreed]
        self._last = words
        return " ".join(self._stable), " ".join(words[len(self._stable) :])
