"""Tatoeba sentence pairs → batches of token ids, English from and to German and French."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer

from models.datasets import Example
from models.datasets._sentences import Sentences
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


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Sentences:
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
    return Sentences(
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
