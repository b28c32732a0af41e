"""model folder of a Whisper → its tokenizer, the tokens that are not text, and its prompts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from service import manifest as manifests
from service.log_mel import MELS
from service.search import Logits, Rule
from service.transcript import text_rule, timestamp_rule

ENGLISH_TOKENS = 50_363
"""Tokens before the timestamps of the English-only models; the multilingual ones have one more."""
ALIGNMENT = "alignment.onnx"
"""A graph that not every model folder has."""
FOLDED = "folded"
"""Another."""
MAX_CONTEXT_TOKENS = 219
"""Of the text before a transcript: what fits beside the longest transcript, and its last tokens."""


@dataclass(frozen=True)
class Assets:
    """The tokenizer, and the tokens that are not text."""

    tokenizer: Tokenizer
    start: int
    end: int
    tasks: Mapping[str, int]
    """transcribe and translate → token."""
    no_speech: int
    no_timestamps: int
    languages: Mapping[str, int]
    """Code → token; empty for an English-only model."""
    suppressed: NDArray[np.int64]
    suppressed_first: NDArray[np.int64]
    mels: int = MELS
    aligns: bool = False
    """Whether the model tells where its words were heard."""
    folds: bool = False
    """Whether silence behind a recording is encoded in groups."""

    @property
    def first_timestamp(self) -> int:
        return self.no_timestamps + 1

    def prompt(
        self, *, language: str, task: str, timestamps: bool = False, context: str = ""
    ) -> list[int]:
        """The tokens before the transcript; the start stands for a language yet to be found.

        `context` is what was said before, or how names are written.
        """
        spoken = [self.languages.get(language, self.start), self.tasks[task]]
        return [
            *self._context(context),
            self.start,
            *(spoken if self.languages else []),
            *([] if timestamps else [self.no_timestamps]),
        ]

    def _context(self, text: str) -> list[int]:
        if not text.strip():
            return []
        said = self.tokenizer.encode(f" {text.strip()}", add_special_tokens=False).ids
        words = [token for token in said if token < self.end]
        return [_id(self.tokenizer, "<|startofprev|>"), *words[-MAX_CONTEXT_TOKENS:]]

    def language(self, logits: Logits) -> int:
        """The token of the likeliest language, by the logits behind the start."""
        tokens = list(self.languages.values())
        return tokens[int(logits[tokens].argmax())]

    def spoken(self, tokens: NDArray[np.int64]) -> str:
        """The code of the language whose token stands in a prompt, or that of no other model."""
        codes = {token: code for code, token in self.languages.items()}
        return codes[int(tokens[0])] if codes else "en"

    def rule(self, prompt: Sequence[int], banned: Sequence[int]) -> Rule:
        """What may come next behind `prompt`; the banned tokens never."""
        never = (self.no_timestamps, self.no_speech)
        suppressed = np.array([*self.suppressed, *never, *banned], np.int64)
        if prompt[-1] != self.no_timestamps:
            return timestamp_rule(first=self.first_timestamp, end=self.end, suppressed=suppressed)
        return text_rule(
            first=self.first_timestamp,
            end=self.end,
            suppressed=suppressed,
            suppressed_first=self.suppressed_first,
        )


def _id(tokenizer: Tokenizer, token: str) -> int:
    id_ = tokenizer.token_to_id(token)
    if id_ is None:
        raise ValueError(f"the vocabulary lacks {token}")
    return id_


def _folds(folder: Path) -> bool:
    """Whether it has the graph, and is not to answer to the last digit as its checkpoint does."""
    if not (folder / manifests.NAME).exists():
        return False
    graph = manifests.read(folder).graphs.get(FOLDED)
    return graph is not None and graph.precision != "float32"


def load_assets(folder: Path) -> Assets:
    """Read `tokenizer.json`, and the suppressed tokens and languages of `config.json`.

    Timestamps are the tokens behind the tokenizer's last.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    added = tokenizer.get_added_tokens_decoder().items()
    languages = {token.content[2:-2]: id for id, token in added if id in set(config["lang_ids"])}
    no_timestamps = _id(tokenizer, "<|notimestamps|>")
    silent = "<|nospeech|>" if tokenizer.token_to_id("<|nospeech|>") else "<|nocaptions|>"
    return Assets(
        tokenizer,
        start=_id(tokenizer, "<|startoftranscript|>"),
        end=_id(tokenizer, "<|endoftext|>"),
        tasks={task: _id(tokenizer, f"<|{task}|>") for task in ("transcribe", "translate")},
        no_speech=_id(tokenizer, silent),
        no_timestamps=no_timestamps,
        languages=languages if no_timestamps >= ENGLISH_TOKENS else {},
        suppressed=np.array(config["suppress_ids"], np.int64),
        suppressed_first=np.array(config["suppress_ids_begin"], np.int64),
        mels=config.get("mels", MELS),
        aligns=(folder / ALIGNMENT).exists(),
        folds=_folds(folder),
    )
