"""Texts are cut into sentences and joined again; what cannot be translated is refused by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import SENTENCES
from pydantic import ValidationError

from models.subword import train_subwords
from service.errors import InvalidInput, refusal
from service.tasks import Item, Row
from service.tasks import translation as task
from service.tasks.translation import Assets, Request


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    folder = tmp_path_factory.mktemp("assets")
    train_subwords(
        SENTENCES, vocab=300, languages=("en", "de", "fr"), path=folder / "tokenizer.json"
    )
    return task.load_assets(folder)


def request_of(text: str | list[str], **fields: Any) -> Request:
    return Request(text=text, source="en", target="de", **fields)


def echoed(items: Sequence[Item], assets: Assets) -> list[Row]:
    """What a model gives that translates every sentence into itself."""
    return [
        {
            "tokens": item["source"][1:-1],
            "log_probability": np.array(-1.0 * len(item["source"])),
            "scored": np.array(len(item["source"]) - 1),
        }
        for item in items
    ]


def answered(request: Request, assets: Assets) -> task.Response:
    items = task.preprocess(request, assets)
    return task.postprocess(request, assets, items, echoed(items, assets))


TEXTS = [
    "I read.",
    "I read. We see! Do you?",
    "  I read.   We see!  ",
    "\n\nI read.\n\n\tWe see.\r\n",
    "Dr. Smith paid 3.50 dollars. He left.",
    "Ich lese. Wir sehen Häuser.",
    "a",
    "...",
    "no full stop",
    "x" * 1_000,
    "日本語の文。次の文。",
    "I read.\u00a0We see.",
    "Plan B\u00a0. And C\u202f! D\u2028.",
    "emoji 👩‍👩‍👧 here. And e\u0301 combined.",
    " ".join(["the book"] * 300),
]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_a_text_are_the_text(text: str, language: str, assets: Assets) -> None:
    assert "".join(task.pieces(text, language, assets)) == text


def test_each_sentence_is_a_piece(assets: Assets) -> None:
    stripped = [piece.strip() for piece in task.pieces("I read. We see! Do you?", "en", assets)]
    assert stripped == ["I read.", "We see!", "Do you?"]


@pytest.mark.parametrize("text", ["x" * 1_000, " ".join(["the book"] * 300)])
def test_no_piece_is_too_long_for_the_model(text: str, assets: Assets) -> None:
    pieces = task.pieces(text, "en", assets)
    assert len(pieces) > 1
    for piece in pieces:
        assert len(assets.tokenizer.encode(piece)) <= task.MAX_SENTENCE_TOKENS


def test_a_long_sentence_is_cut_between_words(assets: Assets) -> None:
    words = [piece.split() for piece in task.pieces(" ".join(["book"] * 500), "en", assets)]
    assert {word for piece in words for word in piece} == {"book"}


@pytest.mark.parametrize("text", TEXTS)
def test_the_white_space_between_sentences_is_kept(text: str, assets: Assets) -> None:
    (translation,) = answered(request_of(text), assets).translations
    if text != "emoji 👩‍👩‍👧 here. And e\u0301 combined.":  # the vocabulary composes é
        assert translation.text == text


def test_an_item_is_a_sentence_between_its_target_language_and_the_end(assets: Assets) -> None:
    (item,) = task.preprocess(request_of("I read.", beam_size=3, max_new_tokens=7), assets)
    (start,) = assets.directions.targets["de"].prompt
    assert item["source"][0] == start
    assert item["prompt"].tolist() == [start]
    assert item["source"][-1] == assets.directions.end
    assert assets.tokenizer.decode(item["source"][1:-1].tolist()) == "I read."
    assert (item["beam_size"], item["max_new_tokens"]) == (3, 7)
    assert task.cost(item) == 3 * len(item["source"])


def test_several_texts_get_an_answer_each_in_their_order(assets: Assets) -> None:
    texts = ["I read. We see.", "here", "Wir sehen. I read. here."]
    answer = answered(request_of(texts), assets)
    assert [translation.text for translation in answer.translations] == texts
    assert len(task.preprocess(request_of(texts), assets)) == 6


def test_tokens_and_score_are_those_of_all_sentences(assets: Assets) -> None:
    request = request_of("I read. We see.")
    items = task.preprocess(request, assets)
    (translation,) = answered(request, assets).translations
    counts = [len(item["source"]) - 1 for item in items]  # with the end, without the language
    assert translation.tokens == sum(counts)
    assert translation.score == pytest.approx(-sum(count + 1 for count in counts) / sum(counts))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"source": "xx"}, "source", "'xx' is not one of de, en, fr"),
        ({"target": "ja"}, "target", "'ja' is not one of de, en, fr"),
        ({"source": "de", "target": "fr"}, "target", "en-de"),
        ({"text": "   "}, "text", "white space"),
        ({"text": ["a", "\n"]}, "text.1", "white space"),
    ],
)
def test_what_the_model_cannot_translate_is_refused_by_field(
    fields: dict[str, Any], field: str, words: str, assets: Assets
) -> None:
    request = Request(**{"text": "a", "source": "en", "target": "de", **fields})
    with pytest.raises(InvalidInput) as caught:
        task.preprocess(request, assets)
    assert caught.value.field == field
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"text": ""}, "text", "at least 1 character"),
        ({"text": []}, "text", "at least 1 item"),
        ({"text": ["a", ""]}, "text.1", "at least 1 character"),
        ({"text": "a" * 20_001}, "text", "at most 20000 characters"),
        ({"text": ["a"] * 65}, "text", "at most 64 items"),
        ({"text": 5}, "text", "valid"),
        ({"beam_size": 0}, "beam_size", "greater than or equal to 1"),
        ({"beam_size": 9}, "beam_size", "less than or equal to 8"),
        ({"max_new_tokens": 0}, "max_new_tokens", "greater than or equal to 1"),
        ({"max_new_tokens": 201}, "max_new_tokens", "less than or equal to 200"),
        ({"source": "e"}, "source", "at least 2 characters"),
        ({"style": "formal"}, "style", "not permitted"),
        ({"target": "en"}, None, "same language"),
        (
            {"beam_size": 2, "alternatives": 2},
            None,
            "alternatives are at most beam_size - 1, here 1",
        ),
        ({"length_penalty": 2.1}, "length_penalty", "less than or equal to 2"),
    ],
)
def test_a_value_over_a_limit_is_refused_with_the_limit(
    fields: dict[str, Any], field: str | None, words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Request(**{"text": "a", "source": "en", "target": "de", **fields})
    problem = refusal(caught.value)
    assert problem.field == field
    assert words in problem.detail


def test_alternatives_are_joined_by_rank_and_not_repeated(assets: Assets) -> None:
    request = request_of("I read.  We see.", alternatives=3)
    items = task.preprocess(request, assets)
    said = [["Ich lese.", "Ich lese.", "Je lis.", "Ich lese."], ["Wir sehen."] * 4]
    rows = [
        {"log_probability": np.array(-1.0), "scored": np.array(4)}
        | {
            task.tokens_of(rank): np.array(assets.tokenizer.encode(text))
            for rank, text in enumerate(texts)
        }
        for texts in said
    ]
    (translation,) = task.postprocess(request, assets, items, rows).translations
    assert translation.text == "Ich lese.  Wir sehen."
    assert translation.alternatives == ["Je lis.  Wir sehen."]


def test_every_language_has_english_on_one_side(assets: Assets) -> None:
    assert assets.directions.languages == ["de", "en", "fr"]
    assert set(assets.directions.pairs or ()) == {
        ("en", "de"),
        ("de", "en"),
        ("en", "fr"),
        ("fr", "en"),
    }


def test_a_text_of_a_special_token_is_a_text(assets: Assets) -> None:
    """A user's `</s>` or `<fr>` must not end or redirect the translation."""
    (item,) = task.preprocess(request_of("a </s> <fr> b"), assets)
    inner = item["source"][1:-1].tolist()
    assert assets.directions.end not in inner
    assert assets.directions.targets["fr"].prompt[0] not in inner
