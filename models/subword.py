"""sentences → a subword vocabulary (`tokenizer.json`) that every language shares."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, END = "<pad>", "</s>"
SPACE = "Ġ"
"""How byte-level pieces write the blank that a word begins with."""


def train_subwords(
    sentences: Iterable[str], *, vocab: int, languages: Iterable[str], path: Path
) -> dict[str, int]:
    """Learn byte-level BPE (Sennrich et al. 2016) and save it; returns its tokens with their ids.

    Bytes are the alphabet, so no text is unknown. Ids 0 and 1 are padding and end of sentence;
    then one token per language that names the language to translate into.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[PAD, END, *(f"<{language}>" for language in languages)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.save(str(path))
    return tokenizer.get_vocab()


class SubwordDropout:
    """Pieces of a text → other pieces of the same text, smaller ones here and there.

    BPE-dropout (Provilkov et al. 2020, "BPE-Dropout: Simple and Effective Subword Regularization",
    algorithm 1): whenever two pieces of a word are to be joined, each pair that could be is left
    out of account with a chance of `share`. So a model sees many spellings of a sentence.
    """

    def __init__(self, tokenizer: Tokenizer, share: float) -> None:
        self.share, self._ids = share, tokenizer.get_vocab()
        self._pieces = {number: piece for piece, number in self._ids.items()}
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        self._ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}

    def __call__(self, ids: Sequence[int], seed: int) -> list[int]:
        """The same seed gives the same pieces."""
        chance = random.Random(seed).random
        text = "".join(self._pieces[number] for number in ids)
        words = text.replace(SPACE, f"\0{SPACE}").split("\0")
        return [self._ids[piece] for word in words for piece in self._joined([*word], chance)]

    def _joined(self, pieces: list[str], chance: Callable[[], float]) -> list[str]:
        while len(pieces) > 1:
            pairs = enumerate(pairwise(pieces))
            ranked = [
                (self._ranks[pair], at)
                for at, pair in pairs
                if pair in self._ranks and chance() >= self.share
            ]
            if not ranked:
                break
            _, at = min(ranked)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        return pieces
