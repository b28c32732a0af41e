"""Tatoeba sentence pairs → batches of token ids, English from and to German and French."""

import gzip
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from models.datasets import Batch, Example
from models.score import IGNORE
from models.subword import END, PAD, train_subwords
from service.tasks.translation import Request

SOURCE = "https://www.manythings.org/anki/ (deu-eng 2018-05-13, fra-eng 2017-09-29)"
LICENCE = "CC BY 2.0, sentences of tatoeba.org"
FILES = {("en", "de"): "eng-deu", ("en", "fr"): "eng-fra"}
LANGUAGES = ("en", "de", "fr")
MAX_TOKENS = 96


def read_pairs(data_dir: Path, split: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(source language, target language) → sentence pairs, for all four directions."""
    directions = {}
    for (first, second), name in FILES.items():
        path = data_dir / "tatoeba" / f"{name}.{split}.tsv.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            next(lines)
            pairs = [(a, b) for a, b in (line.rstrip("\n").split("\t") for line in lines)]
        directions[first, second] = pairs
        directions[second, first] = [(b, a) for a, b in pairs]
    return directions


class Tatoeba:
    """Pairs sorted by length and cut into batches of a bounded number of padded tokens."""

    def __init__(
        self,
        sources: list[list[int]],
        targets: list[list[int]],
        *,
        batch_tokens: int,
        pad: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.sources, self.targets = sources, targets
        self.pad, self.seed, self.shuffle = pad, seed, shuffle
        self.lengths = np.array([[len(t), len(s)] for s, t in zip(sources, targets, strict=True)])
        # The sorted lengths, and so the cuts, are the same in every pass; only ties change places.
        longest = np.sort(self.lengths.max(axis=1))
        self.cuts = [0]
        for end in range(1, len(longest) + 1):
            rows = end - self.cuts[-1]
            if end == len(longest) or (rows + 1) * longest[end] > batch_tokens:
                self.cuts.append(end)
        self._pass_order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        ties = rng.random(len(self.sources)) if self.shuffle else np.zeros(len(self.sources))
        rows = np.lexsort((ties, self.lengths.max(axis=1)))
        return rows, rng.permutation(len(self)) if self.shuffle else np.arange(len(self))

    def batch(self, step: int) -> Batch:
        epoch, index = divmod(step, len(self))
        rows, batches = self._pass_order(epoch)
        cut = int(batches[index])
        chosen = rows[self.cuts[cut] : self.cuts[cut + 1]]
        sources = [self.sources[row] for row in chosen]
        targets = [self.targets[row] for row in chosen]
        return {
            "source": _padded(sources, self.pad),
            "source_lengths": torch.tensor([len(source) for source in sources]),
            "target": _padded([target[:-1] for target in targets], self.pad),
            "labels": _padded([target[1:] for target in targets], IGNORE),
        }


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    array = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return torch.from_numpy(array)


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Tatoeba:
    """Read a split; the vocabulary, learnt once from train, is kept in `run_dir/assets`.

    An option such as `en-fr` says how often a pass over train sees the pairs of that direction.
    """
    vocabulary = run_dir / "assets" / "tokenizer.json"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    directions = read_pairs(data_dir, split)
    if not vocabulary.exists():
        train = read_pairs(data_dir, "train")
        sentences = (text for key in FILES for pair in train[key] for text in pair)
        train_subwords(sentences, vocab=int(options["vocab"]), languages=LANGUAGES, path=vocabulary)
    tokenizer = Tokenizer.from_file(str(vocabulary))
    ids = tokenizer.get_vocab()
    end, pad = ids[END], ids[PAD]
    sources: list[list[int]] = []
    targets: list[list[int]] = []
    for (source_language, target_language), pairs in directions.items():
        repeats = int(options.get(f"{source_language}-{target_language}", 1))
        start = ids[f"<{target_language}>"]
        encoded = [tokenizer.encode_batch([pair[side] for pair in pairs]) for side in (0, 1)]
        for source, target in zip(*encoded, strict=True):
            if max(len(source.ids), len(target.ids)) + 2 <= MAX_TOKENS:
                copies = repeats if split == "train" else 1
                sources += [[start, *source.ids, end]] * copies
                targets += [[start, *target.ids, end]] * copies
    return Tatoeba(
        sources,
        targets,
        batch_tokens=int(options["batch_tokens"]),
        pad=pad,
        seed=seed,
        shuffle=split == "train",
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    """Requests of 32 sentences with their translations, grouped by direction."""
    for (source, target), pairs in read_pairs(data_dir, split).items():
        for start in range(0, len(pairs), 32):
            some = pairs[start : start + 32]
            request = Request(text=[a for a, _ in some], source=source, target=target)
            yield Example(f"{source}→{target}", request, [b for _, b in some])
