"""Multi30k image captions → batches of token ids, from English to German: a benchmark.

Source: Elliott et al. 2016, "Multi30K: Multilingual English-German Image Descriptions", task 1.
Its terms are for research, so what is trained on it is measured and not shipped.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer

from models.datasets import Example
from models.datasets._sentences import Sentences
from models.datasets._translations import Pairs, read_columns, requests, sentences
from models.subword import END, train_subwords
from service.directions import with_english
from service.subwords import TOKENIZER

SOURCE = "https://github.com/multi30k/dataset, task 1, raw"
LICENCE = "non-commercial research and education"
SPLITS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
DIRECTION = ("en", "de")
COLUMNS = (0, 1)
"""Of `en de fr`."""


def read_pairs(data_dir: Path, split: str) -> Pairs:
    path = data_dir / "multi30k" / f"{SPLITS[split]}.tsv.gz"
    return [(source, target) for source, target in read_columns(path, COLUMNS)]


def load(
    data_dir: Path,
    split: str,
    *,
    run_dir: Path,
    seed: int,
    options: Mapping[str, float | int | str],
) -> Sentences:
    """Read a split; the vocabulary, learnt once from train, is kept in `run_dir/assets`."""
    assets = run_dir / "assets"
    if not (assets / TOKENIZER).exists():
        assets.mkdir(parents=True, exist_ok=True)
        said = (text for pair in read_pairs(data_dir, "train") for text in pair)
        ids = train_subwords(
            said, vocab=int(options["vocab"]), languages=DIRECTION, path=assets / TOKENIZER
        )
        known = with_english({each: ids[f"<{each}>"] for each in DIRECTION}, ids[END])
        known.model_copy(update={"pairs": [DIRECTION]}).write(assets)
    return sentences(
        {DIRECTION: read_pairs(data_dir, split)},
        Tokenizer.from_file(str(assets / TOKENIZER)),
        options=options,
        seed=seed,
        training=split == "train",
    )


def examples(data_dir: Path, split: str) -> Iterator[Example]:
    return requests({DIRECTION: read_pairs(data_dir, split)})
