"""entries of one's own data → splits, what is wrong with them, and tables, before any step."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.errors import Problem, refusal

SPLITS = ("train", "dev", "test")
ALIASES = {"validation": "dev", "valid": "dev", "val": "dev"}
"""What other people call the dev split."""
DEV_SHARE = 0.1
MAX_DEV = 500
"""Of each class that are drawn for a dev split."""
UNEVEN = 10
"""How many times larger the largest class may be before it is worth a word."""


class BadData(ValueError):
    """Data that nothing can be trained on; the message lists all that is wrong, and where."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        super().__init__("\n  ".join([f"{path}:", *faults]))


class Unfit(Exception):
    """An entry that is left out, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pair, picture or recording."""

    at: str
    """Where it stands: a file, or a line of one."""
    key: str
    """The same for entries that are the same."""
    split: str = ""
    """Empty where the data does not say."""
    speaker: str = ""
    """Whose entries stay in one split, where the data says."""
    label: str = ""
    """The class; empty where there are none."""

    @property
    def learnt(self) -> str:
        """What is learnt of it, if its key does not say all."""
        return self.label


E = TypeVar("E", bound=Entry)


def split_named(name: str) -> str:
    """A split by any of its names; empty for what is none."""
    known = ALIASES.get(name.lower(), name.lower())
    return known if known in SPLITS else ""


def drawn(entries: Sequence[E], *, seed: int) -> list[E]:
    """Entries that all have a split: the dev split is drawn from train where there is none.

    It has a tenth of each class, or of the speakers. What is the same is in one split, and what an
    entry gets depends on nothing but the seed and the entries of its class.
    """
    entries = [replace(entry, split=entry.split or "train") for entry in entries]
    if any(entry.split == "dev" for entry in entries):
        return entries

    def place(entry: E) -> str:
        return hashlib.sha256(f"{seed} {entry.speaker or entry.key}".encode()).hexdigest()

    train = [entry for entry in entries if entry.split == "train"]
    chosen: set[str] = set()
    for label in {entry.label for entry in train}:
        places = sorted({place(entry) for entry in train if entry.label == label})
        wanted = min(MAX_DEV, max(1, round(DEV_SHARE * len(places))))
        chosen |= set(places[: min(wanted, len(places) - 1)])
    return [
        replace(entry, split="dev") if entry.split == "train" and place(entry) in chosen else entry
        for entry in entries
    ]


@dataclass
class Survey(Generic[E]):
    """What of the data is fit to train on, and what is said of the rest."""

    path: Path
    unit: str
    """Of the lengths."""
    sha256: str
    """Of all entries, in their order."""
    splits: dict[str, list[E]] = field(default_factory=lambda: {name: [] for name in SPLITS})
    lengths: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SPLITS})
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The classes of the train split, sorted; none where entries have no class."""
        return sorted({entry.label for entry in self.splits["train"] if entry.label})

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(entries) for name, entries in self.splits.items()}

    def show(self, console: Console) -> None:
        """Splits with their lengths, the balance of the classes, every warning and error."""
        table = Table("split", "items", f"shortest, {self.unit}", "median", "longest")
        for name, lengths in self.lengths.items():
            if lengths:
                found = (min(lengths), median(lengths), max(lengths))
                table.add_row(name, str(len(lengths)), *(f"{length:.4g}" for length in found))
        console.print(table)
        if self.labels:
            console.print(self._balance())
        said = [*(("yellow", "warning", each) for each in self.warnings)]
        said += [("red", "error", each) for each in self.errors]
        for colour, kind, each in said:
            console.print(f"[{colour}]{kind}[/{colour}]: {escape(each)}", soft_wrap=True)

    def sound(self) -> None:
        """Raises `BadData` with every error."""
        if self.errors:
            raise BadData(self.path, self.errors)

    def _balance(self) -> Table:
        counts = {
            name: Counter(entry.label for entry in entries)
            for name, entries in self.splits.items()
            if entries
        }
        table = Table("class", *counts)
        for label in self.labels:
            table.add_row(escape(label), *(str(counts[name][label]) for name in counts))
        return table


def digest(entries: Sequence[Entry]) -> str:
    """SHA-256 of all entries, in their order, with their splits and what is learnt of them."""
    said = "\n".join(f"{entry.split} {entry.learnt} {entry.key}" for entry in entries)
    return hashlib.sha256(said.encode()).hexdigest()


def survey(
    path: Path, entries: Sequence[E], *, unit: str, measure: Callable[[E], float]
) -> Survey[E]:
    """Look at every entry; what is found is in the survey, and nothing is raised.

    `measure` gives a length in `unit`. It raises `Unfit` for what is better left out, and what the
    service would raise for what is broken.
    """
    found: Survey[E] = Survey(path, unit, digest(entries))
    held_out = {entry.key for entry in entries if entry.split != "train"}
    left_out: dict[str, list[str]] = {}
    for entry in entries:
        try:
            length = measure(entry)
            if entry.split == "train" and entry.key in held_out:
                raise Unfit("is in train and in another split, and left out of train")
        except Unfit as why:
            left_out.setdefault(str(why), []).append(entry.at)
        except ValidationError as error:
            found.errors.append(f"{entry.at}: {refusal(error).detail}")
        except Problem as error:
            found.errors.append(f"{entry.at}: {error.detail}")
        else:
            found.splits[entry.split].append(entry)
            found.lengths[entry.split].append(length)
    found.warnings += [_listed(why, at) for why, at in left_out.items()]
    _judge(found)
    return found


LISTED = 10
"""Places that a warning names; of what is broken all are named."""


def _listed(why: str, at: Sequence[str]) -> str:
    more = f" and {len(at) - LISTED} more" if len(at) > LISTED else ""
    return f"{len(at)} x {why}: {', '.join(at[:LISTED])}{more}"


def _judge(found: Survey[E]) -> None:
    """Splits that are empty, classes that are alone, unknown or rare."""
    for name in ("train", "dev"):
        if not found.splits[name]:
            found.errors.append(f"nothing is left for the {name} split")
    labels = found.labels
    if len(labels) == 1:
        found.errors.append(f"there is one class only, {labels[0]}: two at least can be told apart")
    for name in ("dev", "test"):
        unknown = sorted({e.label for e in found.splits[name] if e.label} - set(labels))
        if unknown and labels:
            found.errors.append(f"{name} has labels that train has not: {', '.join(unknown)}")
    counts = Counter(entry.label for entry in found.splits["train"] if entry.label)
    if counts and max(counts.values()) > UNEVEN * min(counts.values()):
        most, least = counts.most_common()[0], counts.most_common()[-1]
        found.warnings.append(
            f"uneven classes: {most[0]} has {most[1]} items in train, {least[0]} {least[1]}"
        )
