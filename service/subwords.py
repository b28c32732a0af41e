"""sentence ↔ token ids: the vocabularies that translation models come with.

A model folder holds `tokenizer.json`, or SentencePiece models and a `vocab.json` that numbers their
pieces, as Marian and M2M100 have them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
SOURCE, TARGET = "source.spm", "target.spm"
VOCAB, TARGET_VOCAB = "vocab.json", "target_vocab.json"
UNKNOWN = "<unk>"


class Subwords(Protocol):
    """What a translation needs of a vocabulary."""

    def encode(self, sentence: str) -> list[int]:
        """The tokens of a sentence in the source language, no others added."""

    def encode_target(self, sentence: str) -> list[int]:
        """The tokens of a sentence in the target language, which a model learns to give."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The sentence in the target language; tokens that stand for no text are left out."""

    def texts(self, tokens: Sequence[int], *, source: bool = False) -> list[str]:
        """What each token stands for by itself, those that stand for no text too."""


class FromJson:
    """A vocabulary that the tokenizers library reads."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        # A text that says </s> does not end there.
        self.tokenizer.encode_special_tokens = True

    def encode(self, sentence: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(sentence, add_special_tokens=False).ids
        return ids

    def encode_target(self, sentence: str) -> list[int]:
        return self.encode(sentence)

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens)
        return text.strip()

    def texts(self, tokens: Sequence[int], *, source: bool = False) -> list[str]:
        return [self.tokenizer.decode([token], skip_special_tokens=False) for token in tokens]


class FromPieces:
    """SentencePiece models, whose pieces a table numbers; both sides may share model and table."""

    def __init__(self, folder: Path) -> None:
        # Not above: those who read requests for a server elsewhere can do without.
        from sentencepiece import SentencePieceProcessor

        target, vocab = folder / TARGET, folder / TARGET_VOCAB
        self.source = SentencePieceProcessor(model_file=str(folder / SOURCE))
        self.target = (
            SentencePieceProcessor(model_file=str(target)) if target.exists() else self.source
        )
        self.ids: dict[str, int] = json.loads((folder / VOCAB).read_text(encoding="utf-8"))
        self.target_ids: dict[str, int] = (
            json.loads(vocab.read_text(encoding="utf-8")) if vocab.exists() else self.ids
        )
        control = ("<s>", "</s>", "<pad>", UNKNOWN)
        self.pieces = {id: piece for piece, id in self.target_ids.items() if piece not in control}
        self.unknown = self.ids[UNKNOWN]

    def encode(self, sentence: str) -> list[int]:
        pieces = self.source.encode(sentence, out_type=str)
        return [self.ids.get(piece, self.unknown) for piece in pieces]

    def encode_target(self, sentence: str) -> list[int]:
        pieces = self.target.encode(sentence, out_type=str)
        unknown = self.target_ids[UNKNOWN]
        return [self.target_ids.get(piece, unknown) for piece in pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        pieces = [self.pieces[token] for token in tokens if token in self.pieces]
        text: str = self.target.decode_pieces(pieces)
        return text.strip()

    def texts(self, tokens: Sequence[int], *, source: bool = False) -> list[str]:
        pieces = {id: piece for piece, id in (self.ids if source else self.target_ids).items()}
        return [pieces.get(token, UNKNOWN).replace("▁", " ") for token in tokens]


def read(folder: Path) -> Subwords:
    """The vocabulary of a model folder, of whichever kind it is."""
    path = folder / TOKENIZER
    return FromJson(path) if path.exists() else FromPieces(folder)
