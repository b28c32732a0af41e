"""Tatoeba sentence pairs → batches of token ids, English from and to German and French."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer

from models.datasets import Example
from models.datasets._sentences import Sentences
from models.datasets._translations import Pairs, read_columns, requests, sentences
from models.subword import train_subwords

SOURCE = "https://www.manythings.org/anki/ (deu-eng 2018-05-13, fra-eng 2017-09-29)"
LICENCE = "CC BY 2.0, sentences of tatoeba.org"
FILES = {("en", "de"): "eng-deu", ("en", "fr"): "eng-fra"}
LANGUAGES = ("en", "de", "fr")


def read_pairs(data_dir: Path, split: str) -> dict[tuple[str, str], Pairs]:
    """(source language, target language) → sentence pairs, for all four directions."""
    directions = {}
    for (first, second), name in FILES.items():
        path = data_dir / "tatoeba" / f"{name}.{split}.tsv.gz"
        pairs = [(a, b) for a, b in read_columns(path, (0, 1))]
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
    """Read a split; the vocabulary, learnt once from train, is kept in `run_dir/assets`."""
    vocabulary = run_dir / "assets" / "tokenizer.json"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    directions = read_pairs(data_dir, split)
    if not vocabulary.exists():
        train = read_pairs(data_dir, "train")
        said = (text for key in FILES for pair in train[key] for text in pair)
        train_subwords(said, vocab=int(options["vocab"]), languages=LANGUAGES, path=vocabulary)
    return sentences(
        directions,
        Tokenizer.from_file(str(vocabulary)),
        options=options,
        seed=seed,
        training=split == "train",
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    return requests(read_pairs(data_dir, split))
