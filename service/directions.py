"""translation.json of a model folder ↔ the languages it knows, and the tokens that ask for them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

NAME = "translation.json"


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Record):
    """Tokens around a sentence that say what language it is in."""

    before: list[int] = []
    after: list[int]


class Target(Record):
    """Tokens that ask for a language: before the source, and first in the decoder."""

    before: list[int] = []
    prompt: list[int]


class Directions(Record):
    """What a translation model can be asked for."""

    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    pairs: list[tuple[str, str]] | None = None
    """Any two of the languages if not set."""
    end: int
    suppressed: list[int] = []
    """Tokens that are never generated."""

    @property
    def languages(self) -> list[str]:
        return sorted({*self.sources, *self.targets})

    def knows(self, source: str, target: str) -> bool:
        if self.pairs is not None:
            return (source, target) in self.pairs
        return source in self.sources and target in self.targets

    def each(self) -> Iterator[tuple[str, str]]:
        """The pairs that may be asked for."""
        if self.pairs is not None:
            yield from self.pairs
        else:
            yield from ((a, b) for a in self.sources for b in self.targets if a != b)

    @property
    def known(self) -> str:
        """The pairs, or where any two go together the languages."""
        if self.pairs is not None:
            return ", ".join(sorted(f"{a}-{b}" for a, b in self.pairs))
        return f"from {', '.join(sorted(self.sources))} to {', '.join(sorted(self.targets))}"

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(self.model_dump_json(exclude_defaults=True) + "\n")


def read(folder: Path) -> Directions:
    return Directions.model_validate_json((folder / NAME).read_text(encoding="utf-8"))


def with_english(starts: Mapping[str, int], end: int) -> Directions:
    """Languages named by one token each, before the source and in the decoder, to and from `en`."""
    return Directions(
        sources={language: Source(after=[end]) for language in starts},
        targets={
            language: Target(before=[start], prompt=[start]) for language, start in starts.items()
        },
        pairs=[(a, b) for a in starts for b in starts if a != b and "en" in (a, b)],
        end=end,
    )
