"""text in one language → text in another, by sentence: encoder-decoder translation.

Texts are cut into sentences, which are translated as one batch and joined again with the white
space that stood between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pysbd
from pydantic import BaseModel, Field, model_validator
from tokenizers import Tokenizer

from service.contract import Graph, Tensor
from service.decoder import decode
from service.errors import InvalidInput
from service.schema import RequestModel, ResponseModel
from service.session import Model
from service.tasks import Item, Row, stack

RPC = "Translate"
EXPECTED = "Bücher"
MAX_BATCH_COST = 4_096
"""Source tokens times hypotheses in one batch."""
MAX_TEXT_CHARS = 20_000
MAX_TEXTS = 64
MAX_SENTENCE_TOKENS = 200

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


class Request(RequestModel):
    """Translate one text or several from `source` to `target`."""

    text: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] = Field(
        description=f"One text or up to {MAX_TEXTS}, each of up to {MAX_TEXT_CHARS} characters."
    )
    source: str = Field(min_length=2, max_length=8, description="Language of the text, as en.")
    target: str = Field(min_length=2, max_length=8, description="Language wanted, as de.")
    beam_size: int = Field(default=1, ge=1, le=8, description="Hypotheses kept; 1 is greedy.")
    max_new_tokens: int = Field(
        default=128, ge=1, le=200, description="Bound of each translated sentence, in tokens."
    )

    @model_validator(mode="after")
    def _languages_differ(self) -> Self:
        if self.source == self.target:
            raise ValueError("source and target are the same language")
        return self


class Translation(BaseModel):
    """The translation of one text."""

    text: str
    score: float = Field(description="Mean log-probability of a token; nearer 0 is surer.")
    tokens: int = Field(description="Tokens generated.")


class Response(ResponseModel):
    """One translation per text, in the order of the request."""

    translations: list[Translation]


_HEADS = ("batch", None, "src_len", None)
_CACHE = ("batch", None, "max_len", None)
CONTRACT = {
    "encoder": Graph(
        inputs={
            "source": Tensor("int64", ("batch", "src_len")),
            "source_lengths": Tensor("int64", ("batch",)),
        },
        outputs={
            "cross_key_*": Tensor("float32", _HEADS),
            "cross_value_*": Tensor("float32", _HEADS),
        },
    ),
    "decoder": Graph(
        inputs={
            "tokens": Tensor("int64", ("batch", 1)),
            "past_lengths": Tensor("int64", ("batch",)),
            "source_lengths": Tensor("int64", ("batch",)),
            "cross_key_*": Tensor("float32", _HEADS),
            "cross_value_*": Tensor("float32", _HEADS),
            "past_key_*": Tensor("float32", _CACHE),
            "past_value_*": Tensor("float32", _CACHE),
        },
        outputs={
            "logits": Tensor("float32", ("batch", None)),
            "present_key_*": Tensor("float32", _CACHE),
            "present_value_*": Tensor("float32", _CACHE),
        },
    ),
}


@dataclass(frozen=True)
class Assets:
    """The vocabulary and what it says about languages."""

    tokenizer: Tokenizer
    languages: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]
    segmenters: dict[str, pysbd.Segmenter]
    end: int


def load_assets(folder: Path) -> Assets:
    """Read `tokenizer.json`; its tokens `<en>`, `<de>`, ... name the languages."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = tokenizer.get_added_tokens_decoder().values()
    languages = tuple(t.content[1:-1] for t in added if len(t.content) == 4 and "/" not in t.content)
    # Trained on pairs that have English on one side.
    pairs = frozenset((a, b) for a in languages for b in languages if a != b and "en" in (a, b))
    segmenters = {
        language: pysbd.Segmenter(language=language, clean=False, char_span=True)
        for language in languages
    }
    end = tokenizer.token_to_id("</s>")
    return Assets(tokenizer, languages, pairs, segmenters, end)


def texts_of(request: Request) -> list[str]:
    return [request.text] if isinstance(request.text, str) else list(request.text)
