"""Html keeps its tags, about the same words, and what is not to be translated stays as it is."""

import asyncio
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.compat.libretranslate.documents import translate
from service.compat.libretranslate.glossary import Made
from service.compat.libretranslate.html import Html

SAID = {
    "I like to read books.": "Ich lese gerne Bücher.",
    "read books": "Bücher lesen",
    "I bought three new books yesterday.": "Ich habe gestern drei neue Bücher gekauft.",
    "three new books": "drei neue Bücher",
    "new": "neue",
    "yesterday": "gestern",
}


async def said(texts: Sequence[str]) -> list[Made]:
    """What a model would say; what it does not know it shouts."""
    return [Made(SAID.get(text, text.upper())) for text in texts]


def translated(html: str) -> str:
    page = Html(html)
    asyncio.run(translate(page, {}, said, lambda text: [text]))
    return str(page)


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("hello", "HELLO"),
        ("a &lt; b &amp; c", "A &lt; B &amp; C"),
        ("<p>one</p><p>two</p>", "<p>ONE</p><p>TWO</p>"),
        ("<p>one<br>two</p>", "<p>ONE<br>TWO</p>"),
        ("<ul>\n <li>one</li>\n</ul>", "<ul>\n <li>ONE</li>\n</ul>"),
        ('<a href="/x?a=1&amp;b=2" title="as it is">one</a>',
         '<a href="/x?a=1&amp;b=2" title="as it is">ONE</a>'),
        ("<p>I like to <b>read books</b>.</p>", "<p>Ich lese gerne <b>Bücher</b>.</p>"),
        ("<p>I bought <b>three <i>new</i> books</b> <a>yesterday</a>.</p>",
         "<p>Ich habe <a>gestern</a> <b>drei <i>neue</i> Bücher</b> gekauft.</p>"),
        ("<p><b>I like to read books.</b></p>", "<p><b>Ich lese gerne Bücher.</b></p>"),
        ("one <img src=a> two", 'ONE <img src="a"> TWO'),
        ("one<!-- a note --> two", "ONE<!-- a note --> TWO"),
        ("<table><tr><td>one</td><td>2</td></tr></table>",
         "<table><tr><td>ONE</td><td>2</td></tr></table>"),
        ("<b>one <div>two</div></b>", "<b>ONE <div>TWO</div></b>"),
        ("a <b><code>&lt;</code></b>", "<b>A <code>&lt;</code></b>"),
        ("", ""),
        ("12 <b>34</b>", "12 <b>34</b>"),
    ],
)  # fmt: skip
def test_tags_stay_about_their_words(html: str, wanted: str) -> None:
    assert translated(html) == wanted


@pytest.mark.parametrize(
    "kept",
    [
        "<script>if (a < b) say('one')</script>",
        "<style>p { color: red }</style>",
        '<p translate="no">one</p>',
        '<div class="big notranslate"><p>one</p></div>',
        "<pre>one</pre>",
        "<textarea>one</textarea>",
    ],
)
def test_what_is_not_to_be_translated_stays(kept: str) -> None:
    assert translated(f"<p>one</p>{kept}<p>two</p>") == f"<p>ONE</p>{kept}<p>TWO</p>"


def test_code_within_a_sentence_is_kept_where_it_stands() -> None:
    assert translated("<p>call <code>go()</code> twice</p>") == (
        "<p>CALL <code>go()</code> TWICE</p>"
    )


def test_a_whole_page_stays_one() -> None:
    page = "<!DOCTYPE html>\n<html><head><title>one</title></head><body><p>two</p></body></html>"
    assert translated(page) == page.replace("one", "ONE").replace("two", "TWO")


def test_a_page_is_read_and_written_in_the_encoding_that_it_names() -> None:
    page = '<html><head><meta charset="latin-1"></head><body><p>grün</p></body></html>'
    html = Html.of_file(page.encode("latin-1"))
    asyncio.run(translate(html, {}, said, lambda text: [text]))
    assert "GRÜN" in html.content().decode("latin-1")


@pytest.mark.parametrize("content", [b"<p>\xff\xfe</p>", b"<meta charset=none><p>a</p>"])
def test_a_page_in_another_encoding_than_it_names_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        Html.of_file(content)


def test_html_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        Html("<div>" * 1_000 + "one")


TAGS = st.sampled_from(["b", "i", "a", "p", "div", "code", "br", "img", "li", "span"])
TEXTS = st.text(st.sampled_from("ab .\n&<é"), max_size=8)
PARTS = st.lists(
    st.tuples(TEXTS, st.one_of(TAGS.map(lambda tag: f"<{tag}>"), TAGS.map(lambda tag: f"</{tag}>")))
)


@settings(max_examples=200, deadline=None)
@given(PARTS)
def test_no_tag_and_no_letter_is_lost_whatever_the_html(parts: list[tuple[str, str]]) -> None:
    html = "".join(text + tag for text, tag in parts)
    before, after = str(Html(html)), translated(html)

    def counted(page: str) -> list[str]:
        return sorted(re.findall(r"</?\w+>", page))

    assert counted(before) == counted(after)
    for letter in "ab":
        said = [re.sub("<[^>]*>|&\\w+;", "", page).lower() for page in (before, after)]
        assert said[1].count(letter) >= said[0].count(letter)  # what is kept may come twice


def test_many_marks_in_one_text_take_no_long() -> None:
    html = "<b>a</b> <i>b</i> " * 1_000
    assert translated(html).count("</b>") == 1_000


def test_a_long_part_is_marked_to_its_end() -> None:
    half = " ".join(f"w{n}" for n in range(300))
    said = translated(f"<p>{half.replace('w', 'v')} <b>{half}</b></p>")
    assert said == f"<p>{half.replace('w', 'V')} <b>{half.upper()}</b></p>"


def test_deep_nests_and_large_pages_take_no_long() -> None:
    deep = "<b>a " * 200 + "</b>" * 200
    assert translated(deep).count("</b>") == 200
    assert len(str(Html("<i>" * 200 + "<u>a</u>" * 50_000 + "<p>b</p>"))) > 400_000
