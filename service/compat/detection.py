"""a text → the languages it may be in, with how sure that is: py3langid (BSD-3-Clause)."""

from collections.abc import Sequence
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

MAX_CHARS = 2_000
"""More of a text tells no more."""
UNKNOWN = (("en", 0.0),)
"""Of a text without letters, as LibreTranslate has it."""

Ranking = Sequence[tuple[str, float]]
"""Languages and their probabilities, best first."""


@cache
def _identifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = {*identifier.nb_classes}
    identifier.set_languages([each for each in languages if each in known])
    return identifier


def detect(text: str, languages: Sequence[str]) -> Ranking:
    """What a text is in, of these languages; takes seconds the first time, then microseconds."""
    start = text[:MAX_CHARS]
    if not any(char.isalpha() for char in start):
        return UNKNOWN
    ranked = _identifier(tuple(languages)).rank(start)
    return [(str(code), float(share)) for code, share in ranked]
