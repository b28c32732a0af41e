"""TSV of sentence pairs of one's own → what is in it, and batches of token ids.

Its header names languages as the model does (`en`, `de`), and maybe `split`; a folder holds a file
for each split (`train.tsv`, `dev.tsv`, and maybe `test.tsv`). All directions between its columns
that the model knows are learnt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from models.datasets import Dataset, Example
from models.datasets._sentences import Sentences
from models.datasets._table import read_table
from models.survey import BadData, Entry, Unfit, split_named
from service.errors import InvalidInput
from service.tasks import Task
from service.tasks.translation import MAX_SENTENCE_TOKENS, Assets, Request, source_tokens

UNIT = "tokens"
SUFFIXES = (".tsv", ".tsv.gz")
SENTENCES = 32
"""Of one request, when the data is evaluated."""


@dataclass(frozen=True, kw_only=True)
class Pair(Entry):
    """The same in several languages."""

    texts: dict[str, str]


def files(path: Path) -> list[tuple[str, Path]]:
    """The split that a file is for, if its name says so, and the file; raises `BadData`."""
    if not path.is_dir():
        return [("", path)]
    found = [(split_named(each.name.partition(".")[0]), each) for each in sorted(path.iterdir())]
    tables = [(split, each) for split, each in found if split and each.name.endswith(SUFFIXES)]
    if not tables:
        raise BadData(path, ["holds no train.tsv and dev.tsv"])
    return tables


def read(path: Path, task: Task) -> list[Pair]:
    """Every line; raises `BadData`."""
    pairs = []
    for split, file in files(path):
        for row in read_table(file, delimiter="\t", needed=()):
            key = "\t".join(" ".join(text.lower().split()) for text in row.cells.values())
            pairs.append(Pair(at=row.at, key=key, split=split or row.split, texts=row.cells))
    return pairs


def directions(pair: Pair, assets: Assets) -> list[tuple[str, str]]:
    """What the model can learn from a pair."""
    return [each for each in permutations(pair.texts, 2) if assets.directions.knows(*each)]


def tokens(pair: Pair, direction: tuple[str, str], assets: Assets) -> tuple[list[int], list[int]]:
    """Of the source as it is when served, and of the target with its prompt and its end."""
    source, target = direction
    known = assets.directions
    said = assets.tokenizer.encode_target(pair.texts[target])
    return (
        source_tokens(pair.texts[source], source, target, assets),
        [*known.targets[target].prompt, *said, known.end],
    )


def measure(pair: Pair, task: Task, assets: Assets) -> float:
    """Tokens of the longest side; raises `InvalidInput` or `Unfit`."""
    found = directions(pair, assets)
    if not found:
        given, known = ", ".join(pair.texts), assets.directions.known
        raise InvalidInput(f"no two of the columns {given} are a pair this model knows: {known}")
    if not all(pair.texts[language] for direction in found for language in direction):
        raise Unfit("has an empty text, and is left out")
    longest = max(len(ids) for direction in found for ids in tokens(pair, direction, assets))
    if longest > MAX_SENTENCE_TOKENS:
        raise Unfit(f"is longer than {MAX_SENTENCE_TOKENS} tokens, and left out")
    return longest


def dataset(
    pairs: Sequence[Pair], task: Task, assets: Assets, *, batch: int, seed: int, training: bool
) -> Dataset:
    """Batches of up to `batch` tokens."""
    both = [tokens(pair, each, assets) for pair in pairs for each in directions(pair, assets)]
    prompts = {len(target.prompt) for target in assets.directions.targets.values()}
    return Sentences(
        [source for source, _ in both],
        [target for _, target in both],
        batch_tokens=batch,
        pad=assets.directions.end,
        seed=seed,
        shuffle=training,
        prompt_tokens=max(prompts),
    )


def examples(pairs: Sequence[Pair], task: Task, folder: Path) -> Iterator[Example]:
    """Requests of some sentences with their translations, grouped by direction."""
    assets = task.load_assets(folder)
    whole = [pair for pair in pairs if all(pair.texts.values())]
    found = dict.fromkeys(each for pair in whole for each in directions(pair, assets))
    for source, target in found:
        of = [pair.texts for pair in whole if {source, target} <= pair.texts.keys()]
        for start in range(0, len(of), SENTENCES):
            some = of[start : start + SENTENCES]
            asked = Request(text=[texts[source] for texts in some], source=source, target=target)
            yield Example(f"{source}→{target}", asked, [texts[target] for texts in some])
