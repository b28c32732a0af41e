"""sentence pairs by direction → batches of token ids to learn from, requests to measure with."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from models.datasets import Example
from models.datasets._sentences import Sentences
from models.subword import END, PAD
from service.tasks.translation import Request

Pairs = list[tuple[str, str]]
Directions = Mapping[tuple[str, str], Pairs]
"""(source language, target language) → sentence pairs."""
MAX_TOKENS = 96
REQUEST_SENTENCES = 32


def read_columns(path: Path, columns: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """These columns of a compressed TSV, without its header."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            cells = line.rstrip("\n").split("\t")
            yield tuple(cells[column] for column in columns)


def sentences(
    directions: Directions,
    tokenizer: Tokenizer,
    *,
    options: Mapping[str, float | int | str],
    seed: int,
    training: bool,
) -> Sentences:
    """Batches of pairs; both sides begin with the token of the target language.

    An option such as `en-fr` says how often a pass over train sees the pairs of that direction,
    `max_tokens` how long a side may be, with the two tokens around it.
    """
    ids, longest = tokenizer.get_vocab(), int(options.get("max_tokens", MAX_TOKENS))
    end, pad = ids[END], ids[PAD]
    sources: list[list[int]] = []
    targets: list[list[int]] = []
    for (source_language, target_language), pairs in directions.items():
        repeats = int(options.get(f"{source_language}-{target_language}", 1))
        start = ids[f"<{target_language}>"]
        encoded = [tokenizer.encode_batch([pair[side] for pair in pairs]) for side in (0, 1)]
        for source, target in zip(*encoded, strict=True):
            if max(len(source.ids), len(target.ids)) + 2 <= longest:
                copies = repeats if training else 1
                sources += [[start, *source.ids, end]] * copies
                targets += [[start, *target.ids, end]] * copies
    return Sentences(
        sources,
        targets,
        batch_tokens=int(options["batch_tokens"]),
        pad=pad,
        seed=seed,
        shuffle=training,
    )


def requests(directions: Directions) -> Iterator[Example]:
    """Some sentences with their translations each, grouped by direction."""
    for (source, target), pairs in directions.items():
        for start in range(0, len(pairs), REQUEST_SENTENCES):
            some = pairs[start : start + REQUEST_SENTENCES]
            request = Request(text=[a for a, _ in some], source=source, target=target)
            yield Example(f"{source}→{target}", request, [b for _, b in some])
