"""Terms are in the translation exactly as wanted, whatever the model makes of them."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from service.compat.libretranslate.glossary import NAMES, Made, with_terms

Model = Callable[[str], str]


def made(text: str, terms: dict[str, str], model: Model, others: Model | None = None) -> Made:
    asked: list[str] = []

    async def translate(texts: Sequence[str]) -> list[Made]:
        asked.extend(texts)
        return [Made(model(text), [others(text)] if others else []) for text in texts]

    async def run() -> list[Made]:
        def cut(text: str) -> list[str]:
            return [part for part in text.replace(". ", ".| ").split("|") if part]

        return await with_terms([(text, terms), ("plain", terms)], translate, cut)

    one, plain = asyncio.run(run())
    assert plain.text == model("plain")
    return one


def copies(text: str) -> str:
    return text.swapcase() if not any(name in text for name in (*NAMES, "Pad")) else text


def test_words_that_the_model_copies_stand_as_wanted() -> None:
    assert made("My pad is new", {"pad": "Pad"}, copies).text == "My Pad is new"


def only_names(text: str) -> str:
    """Copies names and makes everything else of other words."""
    return " ".join(word if word.strip(".") in NAMES else word.upper() for word in text.split(" "))


def test_where_the_model_spoils_the_words_a_name_stands_for_them() -> None:
    terms = {"pad": "Pad", "big desk": "Tisch"}
    said = made("The pad is on the big desk.", terms, only_names).text
    assert said == "THE Pad IS ON THE Tisch."


@pytest.mark.parametrize(
    "model",
    [
        str.upper,  # spoils every name
        lambda text: "NOTHING" if any(name in text for name in NAMES) else text.upper(),
        lambda text: only_names(text) + " " + only_names(text),  # says each twice
        lambda text: "".join(NAMES) + text.upper(),
    ],
)
def test_what_the_model_drops_is_put_between_what_it_says_of_the_rest(model: Model) -> None:
    said = made("The pad is on the desk.", {"pad": "Pad", "desk": "Tisch"}, model).text
    assert said == f"{model('The ')}Pad{model(' is on the ')}Tisch."


def test_a_text_with_more_terms_than_names_keeps_them_all() -> None:
    terms = {f"t{n}": f"T-{n}" for n in range(9)}
    text = " and ".join(terms)
    assert made(text, terms, only_names).text == " AND ".join(terms.values())


def test_only_the_sentence_with_a_term_is_treated_so() -> None:
    said = made("One pad. Two here.", {"pad": "Pad"}, str.upper).text
    assert said == "ONE Pad. TWO HERE."


def test_a_term_is_a_whole_word_in_its_case_and_the_longest_counts() -> None:
    terms = {"pad": "P", "pad two": "Q", "C++": "C++"}
    assert made("padding Pad", terms, str.upper).text == "PADDING PAD"
    assert made("a pad two", terms, str.upper).text == "A Q"
    assert made("in C++ now", terms, str.lower).text == "in C++ now"


def test_a_name_that_the_text_has_already_stands_for_nothing() -> None:
    said = made(f"{NAMES[0]} has a pad", {"pad": "Pad"}, only_names).text
    assert said == f"{NAMES[0]} HAS A Pad"


def test_alternatives_without_the_term_are_left_out() -> None:
    one = made("a pad", {"pad": "Pad"}, lambda text: text, lambda text: "none")
    assert one == Made("a Pad", [])
    two = made("a pad", {"pad": "Pad"}, lambda text: text, lambda text: text + "!")
    assert two == Made("a Pad", ["a Pad!"])
