"""sentences and terms → translations in which every term is exactly what it is to be.

A sentence is translated with the wanted words in the place of its terms, and where the model does
not copy these, with names, which models copy best. What it drops all the same is cut out: then the
model translates only what stands between the terms.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

Terms = Mapping[str, str]
"""Words as they stand in a text, in their case → words that are to stand for them."""
NAMES = ("Tom", "Boston", "Sami", "Yumi")
"""Stand for terms. Of twenty tried, the shipped model copied these most often, in any direction."""


@dataclass(frozen=True)
class Made:
    """A translation, and other ones."""

    text: str
    alternatives: list[str] = field(default_factory=list)


Translate = Callable[[Sequence[str]], Awaitable[list[Made]]]
"""Texts → a translation of each, with the white space around it."""


def _as_word(words: str) -> str:
    """The pattern of words that are no part of longer ones."""
    return rf"(?<!\w){re.escape(words)}(?!\w)"


def _count(words: str, text: str) -> int:
    return len(re.findall(_as_word(words), text))


@dataclass(frozen=True)
class _Sentence:
    """A text cut at its terms."""

    between: list[str]
    """One more than there are terms."""
    wanted: list[str]

    @classmethod
    def of(cls, text: str, terms: Terms) -> "_Sentence":
        longest_first = sorted(terms, key=len, reverse=True)
        parts = re.split("(" + "|".join(map(_as_word, longest_first)) + ")", text)
        return cls(parts[::2], [terms[term] for term in parts[1::2]])

    def joined(self, middles: Sequence[str], between: Sequence[str] = ()) -> str:
        between = between or self.between
        return between[0] + "".join(a + b for a, b in zip(middles, between[1:], strict=True))

    def names(self) -> list[str]:
        """A name for each term that the text has not; none where there are not enough."""
        free = [name for name in NAMES if name not in "".join(self.between)]
        return free[: len(self.wanted)] if len(free) >= len(self.wanted) else []

    def holds(self, made: str) -> bool:
        """Every term is there as often as it was in the source."""
        counts = ((words, self.wanted.count(words)) for words in set(self.wanted))
        return all(_count(words, made) == count for words, count in counts)

    def named(self, made: str) -> str | None:
        """A translation with names → with the terms; None where a name is not there once."""
        for name, words in zip(self.names(), self.wanted, strict=True):
            if _count(name, made) != 1:
                return None
            made = re.sub(_as_word(name), lambda _, words=words: words, made)  # type: ignore[misc]
        return made


async def _apart(sentences: Sequence[_Sentence], translate: Translate) -> list[Made]:
    """What stands between the terms, each part alone where it has words."""
    parts = [part for one in sentences for part in one.between]
    words = [part for part in parts if any(map(str.isalpha, part))]
    said = dict(zip(words, await translate(words), strict=True))
    return [
        Made(one.joined(one.wanted, [said.get(part, Made(part)).text for part in one.between]))
        for one in sentences
    ]


async def _kept(sentences: Sequence[_Sentence], translate: Translate) -> list[Made]:
    found: dict[int, Made] = {}
    made = await translate([one.joined(one.wanted) for one in sentences])
    for at, (one, each) in enumerate(zip(sentences, made, strict=True)):
        if one.holds(each.text):
            found[at] = Made(each.text, [other for other in each.alternatives if one.holds(other)])
    named = [at for at, one in enumerate(sentences) if at not in found and one.names()]
    made = await translate([sentences[at].joined(sentences[at].names()) for at in named])
    for at, each in zip(named, made, strict=True):
        if (text := sentences[at].named(each.text)) is not None:
            others = [sentences[at].named(other) for other in each.alternatives]
            found[at] = Made(text, [other for other in others if other is not None])
    left = [at for at in range(len(sentences)) if at not in found]
    found.update(zip(left, await _apart([sentences[at] for at in left], translate), strict=True))
    return [found[at] for at in range(len(sentences))]


async def with_terms(
    texts: Sequence[tuple[str, Terms]],
    translate: Translate,
    cut: Callable[[str], Sequence[str]],
) -> list[Made]:
    """Translations of texts that each have terms; `cut` makes a text sentences.

    A text of several sentences, of which one has a term, has no alternatives.
    """
    plain: list[str] = []
    special: list[_Sentence] = []
    order: list[list[bool]] = []
    for text, terms in texts:
        pattern = "|".join(map(_as_word, terms))
        has_any = bool(terms) and re.search(pattern, text) is not None
        kinds = []
        for part in cut(text) if has_any else [text]:
            kinds.append(has_any and re.search(pattern, part) is not None)
            if kinds[-1]:
                special.append(_Sentence.of(part, terms))
            else:
                plain.append(part)
        order.append(kinds)
    made, kept = iter(await translate(plain)), iter(await _kept(special, translate))
    whole = []
    for kinds in order:
        parts = [next(kept if kind else made) for kind in kinds]
        one = parts[0] if len(parts) == 1 else Made("".join(part.text for part in parts))
        whole.append(one)
    return whole
