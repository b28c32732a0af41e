"""huggingface_hub.InferenceClient 2.4 against a service: tasks, options and errors.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import sys
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

base = f"http://127.0.0.1:{sys.argv[1]}"
examples = Path(sys.argv[3])
cat, yes, speech = (examples / name for name in ("cat.jpg", "yes.flac", "speech.flac"))
garments = examples / "garments.png"


def at(path: str) -> InferenceClient:
    return InferenceClient(base + path)


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[int, str]:
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        return error.response.status_code, str(error)
    raise AssertionError(f"{call} was not refused")


images = at("/models/image-classification")
assert images.image_classification(str(cat))[0].label == "cat"
assert images.image_classification(cat.read_bytes())[0].label == "cat"
assert len(images.image_classification(cat, top_k=3)) == 3
assert len(images.image_classification(cat, function_to_apply="softmax")) == 5
status, said = refused(images.image_classification, cat, function_to_apply="sigmoid")
assert (status, "softmax" in said) == (422, True), said
assert refused(images.image_classification, b"no picture")[0] == 415

objects = at("/models/object-detection")
found = objects.object_detection(str(garments))
assert "Trouser" in [one.label for one in found]
assert all(0 <= one.box.xmin < one.box.xmax <= 64 for one in found)
assert len(objects.object_detection(garments, threshold=0.01)) > len(found)

sound = at("/models/attendant/audio-classification").audio_classification(yes, top_k=2)
assert [label.label for label in sound] == ["yes", "_unknown_"]

recognition = at("/models/automatic-speech-recognition")
whole = recognition.automatic_speech_recognition(str(speech))
assert whole.text.split() == ["Good", "morning.", "Open", "the", "window,", "please."]
assert whole.chunks is None
parts = recognition.automatic_speech_recognition(speech, extra_body={"return_timestamps": True})
assert [(chunk.text, chunk.timestamp) for chunk in parts.chunks or []] == [
    ("Good morning.", [0.0, 2.0]),
    ("Open the window, please.", [2.0, 4.4]),
]
status, said = refused(
    recognition.automatic_speech_recognition, speech, extra_body={"return_timestamps": "word"}
)
assert (status, "return_timestamps" in said) == (422, True), said

text, german = "Where is the library?", "Wo ist die Bibliothek?"
translation = at("/models/translation")
assert translation.translation(text, src_lang="en", tgt_lang="de").translation_text == german
assert at("/pipeline/translation_en_to_de").translation(text).translation_text == german
assert (
    at("/models/a/translation/pipeline/translation_en_to_de").translation(text).translation_text
    == german
)
greedy = translation.translation(
    text, src_lang="en", tgt_lang="de", generate_parameters={"num_beams": 1},
    clean_up_tokenization_spaces=True, truncation="do_not_truncate",
)  # fmt: skip
assert greedy.translation_text == german
assert refused(translation.translation, text)[0] == 422
status, said = refused(translation.translation, text, src_lang="en", tgt_lang="xx")
assert (status, "'xx' is not one of" in said) == (422, True), said
assert refused(at("/models/none").translation, text)[0] == 404
assert refused(at("/models/a/b/pipeline/translation_en_to_de").translation, text)[0] == 404
