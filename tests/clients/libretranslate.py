"""libretranslatepy 2.1 against a service, and the errors of its API in LibreTranslate's words.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import io
import json
import sys
import urllib.error
import urllib.request
import zipfile
from typing import Any

from libretranslatepy import LibreTranslateAPI

base = f"http://127.0.0.1:{sys.argv[1]}/"
api = LibreTranslateAPI(base, api_key="any")
GERMAN = "Wo ist die Bibliothek?"
assert api.translate("Where is the library?", "en", "de") == GERMAN
assert {language["code"] for language in api.languages()} == {"de", "en", "fr"}
assert next(one["targets"] for one in api.languages() if one["code"] == "de") == ["de", "en"]


def post(fields: Any) -> tuple[int, Any]:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    request = urllib.request.Request(
        base + "translate", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


one = {"q": "Where is the library?", "source": "en", "target": "de"}
assert post(one) == (200, {"translatedText": GERMAN})
several = post({**one, "q": ["Where is the library?", " ", "I read."], "alternatives": 2})[1]
assert several["translatedText"][:2] == [GERMAN, " "]
assert [len(found) for found in several["alternatives"]][:2] == [2, 0]
assert post({**one, "target": "en"}) == (200, {"translatedText": one["q"]})

found = post(
    {**one, "q": ["Where is the library?", "Ich lese gerne Bücher.", "1"], "source": "auto"}
)[1]
assert [one["language"] for one in found["detectedLanguage"]] == ["en", "de", "en"]
assert found["detectedLanguage"][2]["confidence"] == 0
assert found["translatedText"] == [GERMAN, "Ich lese gerne Bücher.", "1"]
single = post({**one, "source": "auto"})[1]
assert single["translatedText"] == GERMAN
assert single["detectedLanguage"]["confidence"] > 90

html = {**one, "format": "html"}
page = "<p>Where is the <b>library</b>?</p><script>a < b</script>"
assert post({**html, "q": page}) == (200, {
    "translatedText": "<p>Wo ist die <b>Bibliothek</b>?</p><script>a < b</script>"
})  # fmt: skip
found = post({**html, "q": [page, "<p>Ich lese gerne Bücher.</p>"], "source": "auto"})[1]
assert [one["language"] for one in found["detectedLanguage"]] == ["en", "de"]
assert found["translatedText"][1] == "<p>Ich lese gerne Bücher.</p>"
terms = {"library": "Stadtbücherei", "Frobnicator": None}
found = post({**one, "glossary": terms, "alternatives": 1})[1]
assert "Stadtbücherei" in found["translatedText"]
assert all("Stadtbücherei" in other for other in found["alternatives"])
found = post({**html, "q": "<p>The <i>Frobnicator</i> sleeps.</p>", "glossary": terms})[1]
assert "<i>Frobnicator</i>" in found["translatedText"]

assert api.detect("Où est la bibliothèque ?")[0]["language"] == "fr"

for change, error in (
    ({"q": None}, "Invalid request: missing q parameter"),
    ({"source": None}, "Invalid request: missing source parameter"),
    ({"target": None}, "Invalid request: missing target parameter"),
    ({"source": "zz"}, "zz is not supported"),
    (
        {"source": "de", "target": "fr"},
        "French (fr) is not available as a target language from German (de)",
    ),
    ({"format": "rtf"}, "rtf format is not supported"),
    ({"glossary": []}, "Invalid request: glossary parameter is not an object of terms"),
    ({"glossary": "{"}, "Invalid request: glossary parameter is not JSON"),
    (
        {"glossary": {"a": 1}},
        "Invalid request: glossary parameter holds what is no term: words, and words or null",
    ),
    (
        {"glossary": {str(n): None for n in range(65)}},
        "Invalid request: glossary (65) exceeds the limit of 64 terms",
    ),
    (
        {"glossary": {"x" * 201: None}},
        "Invalid request: glossary parameter has a term over 200 characters",
    ),
    (
        {"format": "html", "q": "<b>" * 300},
        "Invalid request: q parameter is not html: elements are nested too deep",
    ),
    ({"alternatives": "x"}, "Invalid request: alternatives parameter is not a number"),
    ({"alternatives": 8}, "Invalid request: alternatives parameter is not from 0 to 7"),
    ({"q": "x" * 20_001}, "Invalid request: request (20001) exceeds text limit (20000)"),
    ({"q": ["x"] * 65}, "Invalid request: request (65) exceeds batch limit (64)"),
    ({"q": [5]}, "Invalid request: q parameter is not a text or a list of them"),
    ({"source": ["en"]}, "['en'] is not supported"),
):
    found = post({**one, **change})
    assert found == (400, error), found
assert post(b"{")[0] == 400
assert post(b"[]")[0] == 400


def ask(path: str, body: bytes | None = None, media: str = "") -> tuple[int, bytes]:
    url = path if path.startswith("http") else base + path
    request = urllib.request.Request(url, data=body, headers={"Content-Type": media})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def upload(name: str | None, content: bytes, **fields: str) -> tuple[int, Any]:
    """As curl -F does; libretranslatepy 2.1 has no method for files."""
    parts = [f'form-data; name="{key}"\r\n\r\n'.encode() + v.encode() for key, v in fields.items()]
    if name is not None:
        parts.append(f'form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content)
    body = b"".join(b"--x\r\nContent-Disposition: " + part + b"\r\n" for part in parts)
    status, said = ask("translate_file", body + b"--x--\r\n", "multipart/form-data; boundary=x")
    return status, json.loads(said)


def translated(name: str, content: bytes, **fields: str) -> bytes:
    status, said = upload(name, content, **{"source": "en", "target": "de", **fields})
    assert status == 200, said
    assert said["translatedFileUrl"].startswith(f"{base}download_file/")
    status, found = ask(said["translatedFileUrl"])
    assert status == 200, found
    return found


text = "Where is the library?\n\nI like to read books.\n"
wanted = f"{GERMAN}\n\nIch lese gerne Bücher.\n".encode()
assert translated("a.txt", text.encode()) == wanted
assert translated("a.txt", text.encode(), source="auto") == wanted
kept = translated("a.txt", text.encode(), glossary=json.dumps({"books": "BOOKS"}))
assert b"BOOKS" in kept, kept
assert (
    translated("b.HTML", page.encode()) == post({**html, "q": page})[1]["translatedText"].encode()
)
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
word = f"""<w:document xmlns:w="{W}"><w:body><w:p><w:r><w:t>Where is the library?</w:t></w:r></w:p>
</w:body></w:document>"""
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as made:
    made.writestr("word/document.xml", word)
unpacked = zipfile.ZipFile(io.BytesIO(translated("c.docx", packed.getvalue())))
assert GERMAN in unpacked.read("word/document.xml").decode()

pair = {"source": "en", "target": "de"}
for name, content, fields, error in (
    ("a.pdf", b"x", pair, "Invalid request: file format not supported"),
    ("a", b"x", pair, "Invalid request: file format not supported"),
    (None, b"", pair, "Invalid request: missing file parameter"),
    ("a.txt", b"x", {"source": "en"}, "Invalid request: missing target parameter"),
    ("a.txt", b"x", {**pair, "source": "zz"}, "zz is not supported"),
    ("a.docx", b"x", pair, "Invalid request: the file is not .docx: not a zip file"),
    ("a.txt", b"x" * 20_001, pair, "Invalid request: request (20001) exceeds text limit (20000)"),
    (
        "a.txt", b"word " * 3_999 + b"\n" + b"word " * 40_000, pair,
        "Invalid request: request (200000) exceeds text limit (20000)",
    ),
    (
        "a.txt", b"a line of words\n" * 20_000, pair,
        "Invalid request: request (300000) exceeds text limit (200000)",
    ),
):  # fmt: skip
    status, said = upload(name, content, **fields)
    assert (status, said["error"]) == (400, error), said
assert upload("a.txt", b"\xff", **pair)[0] == 400
assert upload("a.html", b"<p>" * (2 << 20), **pair)[0] == 413
assert ask("download_file/none.txt")[0] == 404
assert ask("download_file/..%2Fsecret.txt")[0] == 404
settings = json.loads(ask("frontend/settings")[1])
assert settings["filesTranslation"]
assert settings["supportedFilesFormat"] == [".txt", ".html", ".htm", ".docx"]
assert settings["charLimit"] == 20_000
assert ask("suggest", b"{}")[0] == 403
assert json.loads(ask("health")[1]) == {"status": "ok"}


def refused(call: Any, *arguments: str) -> tuple[int, str]:
    try:
        call(*arguments)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]
    raise AssertionError(f"{call} was not refused")


assert refused(api.translate, "a", "en", "zz") == (400, "zz is not supported")
assert refused(api.translate, "", "en", "de") == (400, "Invalid request: missing q parameter")
assert refused(api.detect, "") == (400, "Invalid request: missing q parameter")
