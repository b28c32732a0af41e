"""the data folder → translation requests: sentences of the test split, some ten times as long."""

import csv
import gzip
from pathlib import Path
from random import Random

from loadtests.scenarios import Scenario, scenario
from service.tasks import task

LONGER = 10
LONG_SHARE = 0.1
"""Of the requests; they are then more than half of the tokens."""
ENDS = ".!?"


def sentences(data_dir: Path) -> list[str]:
    """German sentences of Tatoeba's test split."""
    path = data_dir / "tatoeba" / "eng-deu.test.tsv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return list(dict.fromkeys(row[(rows.fieldnames or [""])[1]] for row in rows))


def longer(parts: list[str]) -> str:
    """One sentence of several, so that nobody can cut it into short ones."""
    clauses = [part.rstrip(ENDS) for part in parts]
    return ", und ".join([clauses[0], *(each[0].lower() + each[1:] for each in clauses[1:])]) + "."


def requests(data_dir: Path, number: int, *, beam_size: int, seed: int) -> list[Scenario]:
    """So many requests into English; every tenth is ten times as long."""
    random = Random(seed)
    known = [text for text in sentences(data_dir) if not any(c in text[:-1] for c in ENDS)]
    long_ones = round(number * LONG_SHARE)
    texts = [longer(random.sample(known, LONGER)) for _ in range(long_ones)]
    texts += random.sample(known, number - long_ones)
    random.shuffle(texts)
    of = task("translation")
    return [
        scenario(
            of,
            request=of.request.model_validate(
                {"text": text, "source": "de", "target": "en", "beam_size": beam_size}
            ),
        )
        for text in texts
    ]
