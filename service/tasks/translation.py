"""text in one language → text in another, by sentence: encoder-decoder translation.

Texts are cut into sentences, which are translated as one batch and joined again with the white
space that stood between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import sentencex
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from service import directions, subwords
from service.contract import Graph, Tensor, decoding_step, encoded
from service.decoder import Pass, Way, complete
from service.directions import Directions
from service.errors import InvalidInput
from service.explanation import GRAPH, MARK, Axis, Weights, drawn
from service.schema import RequestModel, ResponseModel, Score
from service.search import Logits, Rule, Search
from service.session import Runner
from service.subwords import Subwords
from service.tasks import Item, Row, stack

RPC = "Translate"
EXPECTED = "Bücher"
MAX_BATCH_COST = 4_096
"""Source tokens times hypotheses in one batch."""
MAX_TEXT_CHARS = 20_000
MAX_TEXTS = 64
MAX_SENTENCE_TOKENS = 200
MAX_ROWS = 64
"""Hypotheses that are decoded together; more make steps longer and little faster in all."""
MAX_LEN = 202
"""Two tokens that ask for a language, and as many new ones as may be asked for."""
MAX_ENCODE_COST = 512
BESIDE = True

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


class Request(RequestModel):
    """Translate one text or several from `source` to `target`."""

    text: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] = Field(
        description=f"One text or up to {MAX_TEXTS}, each of up to {MAX_TEXT_CHARS} characters."
    )
    source: str = Field(min_length=2, max_length=8, description="Language of the text, as en.")
    target: str = Field(min_length=2, max_length=8, description="Language wanted, as de.")
    beam_size: int = Field(
        default=4, ge=1, le=8, description="Hypotheses kept; 1 is greedy and fastest."
    )
    max_new_tokens: int = Field(
        default=128, ge=1, le=200, description="Bound of each translated sentence, in tokens."
    )
    length_penalty: float = Field(
        default=1.0, ge=0, le=2, description="Power of the length; more favours long translations."
    )
    alternatives: int = Field(
        default=0, ge=0, le=7, description="Further translations wanted; fewer than beam_size."
    )

    @model_validator(mode="after")
    def _languages_differ(self) -> Self:
        if self.source == self.target:
            raise ValueError("source and target are the same language")
        return self

    @model_validator(mode="after")
    def _beam_holds_the_alternatives(self) -> Self:
        if self.alternatives >= self.beam_size:
            raise ValueError(f"alternatives are at most beam_size - 1, here {self.beam_size - 1}")
        return self


class Translation(BaseModel):
    """The translation of one text."""

    text: str
    score: Score = Field(description="Mean log-probability of a token; nearer 0 is surer.")
    tokens: int = Field(description="Tokens generated, the end of each sentence too.")
    alternatives: list[str] = Field(default=[], description="Other translations, best first.")


class Response(ResponseModel):
    """One translation per text, in the order of the request."""

    translations: list[Translation]


CONTRACT = {
    "encoder": Graph(
        inputs={
            "source": Tensor("int64", ("batch", "src_len")),
            "source_lengths": Tensor("int64", ("batch",)),
        },
        outputs=encoded(),
    ),
    "decoder": decoding_step({"source_lengths": Tensor("int64", ("batch",))}),
    "attention": Graph(
        inputs={
            "source": Tensor("int64", ("batch", "src_len")),
            "source_lengths": Tensor("int64", ("batch",)),
            "tokens": Tensor("int64", ("batch", "tgt_len")),
        },
        outputs={
            "weights": Tensor("float32", ("batch", None, None, "tgt_len", "src_len")),
            "source_steps": Tensor("int64", ("batch", "src_len"), optional=True),
            "target_steps": Tensor("int64", ("batch", "tgt_len"), optional=True),
        },
        aside=True,
    ),
}


@dataclass(frozen=True)
class Assets:
    """The vocabulary and what it says about languages."""

    tokenizer: Subwords
    directions: Directions


def load_assets(folder: Path) -> Assets:
    """Read the vocabulary and `translation.json`.

    Where there is none, tokens `<en>`, `<de>`, ... of `tokenizer.json` name the languages.
    """
    tokenizer = subwords.read(folder)
    if (folder / directions.NAME).exists():
        return Assets(tokenizer, directions.read(folder))
    assert isinstance(tokenizer, subwords.FromJson)
    added = tokenizer.tokenizer.get_added_tokens_decoder().values()
    languages = [t.content[1:-1] for t in added if len(t.content) == 4 and "/" not in t.content]
    vocab = tokenizer.tokenizer.get_vocab()  # once: it makes a table of all tokens
    starts = {language: vocab[f"<{language}>"] for language in languages}
    return Assets(tokenizer, directions.with_english(starts, vocab["</s>"]))


def texts_of(request: Request) -> list[str]:
    return [request.text] if isinstance(request.text, str) else list(request.text)


def _halves(text: str, assets: Assets) -> list[str]:
    """Cut a sentence that is too long for the model at the space nearest its middle."""
    if len(assets.tokenizer.encode(text)) <= MAX_SENTENCE_TOKENS:
        return [text]
    middle = len(text) // 2
    spaces = [index for index, char in enumerate(text) if char.isspace() and index]
    cut = min(spaces, key=lambda index: abs(index - middle), default=middle)
    return [*_halves(text[:cut], assets), *_halves(text[cut:], assets)]


def pieces(text: str, language: str, assets: Assets) -> list[str]:
    """A text → sentences; joined again they are the text, white space included."""
    # sentencex 1.0 panics at "B\u00a0.": it cuts within white space of several bytes.
    plain = "".join(" " if c.isspace() and not c.isascii() else c for c in text)
    ends = accumulate(len(sentence) for sentence in sentencex.segment(language, plain))
    sentences = (text[start:end] for start, end in pairwise([0, *ends]))
    return [piece for sentence in sentences for piece in _halves(sentence, assets)]


def source_tokens(sentence: str, source: str, target: str, assets: Assets) -> list[int]:
    """What the encoder takes of a sentence without white space around it."""
    of, into = assets.directions.sources[source], assets.directions.targets[target]
    return [*into.before, *of.before, *assets.tokenizer.encode(sentence), *of.after]


def preprocess(request: Request, assets: Assets) -> list[Item]:
    """One item per sentence that is not blank, with the white space around it.

    What stands between two sentences is `before` the second; only the last has any `after` it.
    """
    languages = assets.directions
    for field in ("source", "target"):
        if getattr(request, field) not in languages.languages:
            known = ", ".join(languages.languages)
            raise InvalidInput(f"{getattr(request, field)!r} is not one of {known}", field)
    if not languages.knows(request.source, request.target):
        raise InvalidInput(
            f"{request.source}-{request.target} is not a pair this model knows: {languages.known}",
            "target",
        )
    prompt = languages.targets[request.target].prompt
    items = []
    for index, text in enumerate(texts_of(request)):
        if not text.strip():
            where = "text" if isinstance(request.text, str) else f"text.{index}"
            raise InvalidInput("holds nothing but white space", where)
        between = ""
        for piece in pieces(text, request.source, assets):
            sentence = piece.strip()
            if not sentence:
                between += piece
                continue
            leading, trailing = piece.split(sentence)
            ids = source_tokens(sentence, request.source, request.target, assets)
            items.append(
                {
                    "index": np.array(index),
                    "before": np.array(between + leading),
                    "after": np.array(""),
                    "source": np.array(ids, np.int64),
                    "prompt": np.array(prompt, np.int64),
                    "beam_size": np.array(request.beam_size),
                    "max_new_tokens": np.array(request.max_new_tokens),
                    "length_penalty": np.array(request.length_penalty),
                    "alternatives": np.array(request.alternatives),
                }
            )
            between = trailing
        items[-1]["after"] = np.array(between)
    return items


def encode(model: Runner, inputs: Sequence[Item]) -> dict[str, NDArray[Any]]:
    """Sources of many sentences → keys and values of the decoder's attention to them."""
    lengths = np.array([len(each["source"]) for each in inputs])
    given = {"source": stack(inputs, "source"), "source_lengths": lengths}
    return model.run("encoder", given) | {"source_lengths": lengths}


def tokens_of(rank: int) -> str:
    """The name of the tokens of the best hypothesis, and of those that follow it."""
    return f"tokens_{rank}" if rank else "tokens"


def _suppressing(tokens: Sequence[int]) -> Rule | None:
    """What keeps tokens from being generated."""
    if not tokens:
        return None

    def rule(logits: Logits, _: list[list[int]]) -> None:
        logits[:, tokens] = -np.inf

    return rule


def generate(item: Item, assets: Assets) -> Way:
    """The way of one sentence: a single search, and where it attended if that is asked."""
    hypotheses = yield Search(
        prompt=item["prompt"].tolist(),
        end=assets.directions.end,
        max_new_tokens=int(item["max_new_tokens"]),
        beam_size=int(item["beam_size"]),
        length_penalty=float(item["length_penalty"]),
        rule=_suppressing(assets.directions.suppressed),
        inputs={"source": item["source"]},
    )
    row = {
        "log_probability": np.array(hypotheses[0].log_probability),
        "scored": np.array(len(hypotheses[0].tokens) + hypotheses[0].ended),
    }
    for rank in range(1 + int(item["alternatives"])):
        # Where the search ended with fewer, the last stands for those that are missing.
        tokens = hypotheses[min(rank, len(hypotheses) - 1)].tokens
        row[tokens_of(rank)] = np.array(tokens, np.int64)
    if MARK in item:
        given, source = [*item["prompt"], *row["tokens"]], item["source"]
        inputs = {"tokens": np.array(given, np.int64), "source": source}
        read = yield Pass(GRAPH, {**inputs, "source_lengths": np.array(len(source))})
        # The last token of the prompt foretells the first of the text; others may be longer.
        first = len(item["prompt"]) - 1
        told, of_source = slice(first, first + int(row["scored"])), slice(len(source))
        row["weights"] = read["weights"][..., told, of_source]
        if "source_steps" in read:
            row["source_steps"] = read["source_steps"][of_source]
            row["target_steps"] = read["target_steps"][told]
    return row


def forward(model: Runner, assets: Assets, items: Sequence[Item]) -> list[Row]:
    return complete(model, encode, [generate(item, assets) for item in items])


def continued(text: str, item: Item, tokens: Sequence[int], assets: Assets) -> str:
    """A text with the sentence that follows."""
    return f"{text}{item['before']}{assets.tokenizer.decode(tokens)}"


def texts(response: Response) -> list[str]:
    return [translation.text for translation in response.translations]


def postprocess(
    request: Request, assets: Assets, items: Sequence[Item], rows: Sequence[Row]
) -> Response:
    """Join the translated sentences of each text with the white space of the source."""
    translations = []
    sentences = zip(items, rows, strict=True)
    for _, of_text in groupby(sentences, key=lambda sentence: int(sentence[0]["index"])):
        outs = [""] * (1 + request.alternatives)
        tokens, log_probability = 0, 0.0
        for item, row in of_text:
            outs = [
                continued(out, item, row[tokens_of(rank)].tolist(), assets) + str(item["after"])
                for rank, out in enumerate(outs)
            ]
            tokens += int(row["scored"])
            log_probability += float(row["log_probability"])
        best, *others = outs
        score = log_probability / max(tokens, 1)
        translations.append(
            Translation(
                text=best,
                score=score,
                tokens=tokens,
                alternatives=[out for out in dict.fromkeys(others) if out != best],
            )
        )
    return Response(translations=translations, attention=drawn(_maps(items, rows, assets)))


def _maps(items: Sequence[Item], rows: Sequence[Row], assets: Assets) -> Iterator[Weights]:
    """Where each sentence's decoder attended in its source, token by token, and where a model
    decides it itself, how many steps each token took."""
    for item, row in zip(items, rows, strict=True):
        if "weights" not in row:
            continue
        written = [*row["tokens"].tolist(), assets.directions.end][: int(row["scored"])]
        target = assets.tokenizer.texts(written)
        source = assets.tokenizer.texts(item["source"].tolist(), source=True)
        index = int(item["index"])
        axes = [
            Axis(name=name, size=len(labels), labels=labels)
            for name, labels in (("target", target), ("source", source))
        ]
        yield Weights("alignment", row["weights"], ["layer", "head", *axes], index)
        for axis in reversed(axes):
            if f"{axis.name}_steps" in row:
                yield Weights("halting", row[f"{axis.name}_steps"], [axis], index)


def rows(item: Item) -> int:
    return int(item["beam_size"])


def cost(item: Item) -> int:
    return len(item["source"]) * int(item["beam_size"])


def example() -> Request:
    return Request(text="I like to read books.", source="en", target="de")


def adapt(request: Request, assets: Assets) -> Request:
    """The request; from and to other languages where the model does not know those."""
    known = assets.directions
    if known.knows(request.source, request.target):
        return request
    source, target = next(known.each())
    return request.model_copy(update={"source": source, "target": target})
