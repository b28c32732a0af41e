"""Files come back in their kind with their marks, and are kept for a bounded time and size."""

import asyncio
import io
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from service.compat.libretranslate.documents import Document, Lines, translate
from service.compat.libretranslate.docx import Docx
from service.compat.libretranslate.files import Files
from service.compat.libretranslate.glossary import Made
from service.errors import NotFound, TooLarge

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
LIMIT = 1 << 20


async def shouted(texts: Sequence[str]) -> list[Made]:
    return [Made(text.upper()) for text in texts]


def translated(document: Document) -> bytes:
    asyncio.run(translate(document, {}, shouted, lambda text: [text]))
    return document.content()


def test_a_text_keeps_its_lines() -> None:
    said = translated(Lines("\ufeffone.\n\n  two\r\n12\n".encode()))
    assert said.decode() == "ONE.\n\n  TWO\r\n12\n"


def test_a_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        Lines(b"\xff")


def run(text: str, *properties: str) -> str:
    inner = "".join(f"<w:{name}/>" for name in properties)
    look = f"<w:rPr>{inner}</w:rPr>" if inner else "<w:rPr/>"
    return f'<w:r>{look}<w:t xml:space="preserve">{text}</w:t></w:r>'


def docx(*paragraphs: str, **parts: bytes) -> bytes:
    body = "".join(f"<w:p>{one}</w:p>" for one in paragraphs)
    document = f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    packed = io.BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as made:
        made.writestr("[Content_Types].xml", "<Types/>")
        made.writestr("word/document.xml", parts.pop("document", document.encode()))
        for name, content in parts.items():
            made.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


def paragraphs(content: bytes, part: str = "word/document.xml") -> list[str]:
    text = ZipFile(io.BytesIO(content)).read(part).decode()
    return [one.partition("</w:p>")[0] for one in text.split("<w:p>")[1:]]


def test_a_word_file_keeps_its_runs_about_their_words() -> None:
    (said,) = paragraphs(
        translated(Docx(docx(run("One ") + run("two", "b") + run(" three.")), LIMIT))
    )
    assert said == run("ONE ") + run("TWO", "b") + run(" THREE.")


def test_runs_that_look_alike_are_one_text() -> None:
    hint = '<w:proofErr w:type="spellStart"/>'
    (said,) = paragraphs(translated(Docx(docx(run("On") + hint + run("e two")), LIMIT)))
    assert said == run("ONE TWO")


def test_tabs_pictures_fields_links_and_notes_stay() -> None:
    link = f'<w:hyperlink w:anchor="a">{run("two")}</w:hyperlink>'
    note = '<w:r><w:footnoteReference w:id="1"/></w:r>'
    (said,) = paragraphs(
        translated(
            Docx(
                docx(
                    '<w:pPr><w:jc w:val="center"/></w:pPr><w:r><w:t>one</w:t><w:tab/></w:r>'
                    + run("see ") + link + note + "<w:r><w:drawing/></w:r>"
                ),
                LIMIT,
            )
        )
    )  # fmt: skip
    assert said.startswith('<w:pPr><w:jc w:val="center"/></w:pPr>')
    assert said.index("ONE") < said.index("<w:tab/>") < said.index("SEE")
    assert f'<w:hyperlink w:anchor="a">{run("TWO")}</w:hyperlink>' in said
    assert said.count("footnoteReference") == said.count("<w:drawing/>") == 1


def test_headers_and_notes_are_translated_and_other_parts_are_copied() -> None:
    header = f'<w:hdr xmlns:w="{W}"><w:p>{run("one")}</w:p></w:hdr>'.encode()
    picture = bytes(range(256))
    parts = {"word__header1.xml": header, "word__a.png": picture}
    made = translated(Docx(docx(run("two"), **parts), LIMIT))
    assert "ONE" in paragraphs(made, "word/header1.xml")[0]
    assert ZipFile(io.BytesIO(made)).read("word/a.png") == picture


ENTITY = '<!DOCTYPE a [<!ENTITY b "boo">]>'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"no zip", "zip"),
        (docx()[:-30], "zip"),
        (docx(document=b"<w:document"), "XML"),
        (docx(document=f'{ENTITY}<w:p xmlns:w="{W}">&b;</w:p>'.encode()), "document type"),
    ],
)
def test_what_is_no_word_file_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Docx(content, LIMIT)


def test_a_zip_without_a_document_is_refused() -> None:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as made:
        made.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="Word"):
        Docx(packed.getvalue(), LIMIT)


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = docx(**{"word__a.bin": bytes(LIMIT)})
    assert len(bomb) < 10_000
    with pytest.raises(TooLarge, match="unpacks"):
        Docx(bomb, LIMIT)
    assert Docx(bomb, None).marked == []


def test_a_kept_file_is_had_by_its_name_only(tmp_path: Path) -> None:
    files = Files(tmp_path / "files", LIMIT, keep_s=60)
    given = files.put("../my page.html", b"content")
    assert files.get(given) == b"content"
    assert given.endswith(".html")
    assert "/" not in given
    assert Files(tmp_path / "files", LIMIT, keep_s=60).get(given) == b"content"
    (tmp_path / "secret.txt").write_text("secret")
    for wrong in ("", "x", given[1:], "../secret.txt", f"../{'a' * 19}.txt", "secret.txt"):
        with pytest.raises(NotFound):
            files.get(wrong)


def test_a_file_goes_after_its_time_or_when_another_needs_its_room(tmp_path: Path) -> None:
    files = Files(tmp_path, limit_bytes=1_000, keep_s=60)
    old, kept = files.put("a.txt", bytes(400)), files.put("b.txt", bytes(400))
    os.utime(tmp_path / old, (time.time() - 30, time.time() - 30))
    new = files.put("c.txt", bytes(400))
    assert len(files.get(kept)) == len(files.get(new)) == 400
    with pytest.raises(NotFound):
        files.get(old)
    os.utime(tmp_path / kept, (time.time() - 90, time.time() - 90))
    with pytest.raises(NotFound):
        files.get(kept)
    files.put("d.txt", b"")
    assert not (tmp_path / kept).exists()
    with pytest.raises(TooLarge):
        files.put("e.txt", bytes(1_001))


def test_without_a_folder_files_are_in_one_of_the_process() -> None:
    files = Files(None, LIMIT, keep_s=60)
    with pytest.raises(NotFound):
        files.get("x")
    assert files.get(files.put("a.txt", b"a")) == b"a"


def test_a_damaged_word_file_is_refused_wherever_the_damage_is() -> None:
    draw = random.Random(0)
    letters = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=5_000))
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"<a>{letters}</a>")
    whole = file.getvalue()
    for at in range(60, 3_000, 20):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        with pytest.raises(ValueError, match="not a zip"):
            Docx(bytes(damaged), LIMIT)
