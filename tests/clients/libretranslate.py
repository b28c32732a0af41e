"""libretranslatepy 2.1 against a service, and the errors of its API in LibreTranslate's words.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import json
import sys
import urllib.error
import urllib.request
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
    ({"format": "html"}, "html format is not supported"),
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
