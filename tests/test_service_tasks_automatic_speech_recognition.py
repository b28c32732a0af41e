"""Transcription: windows become one text with times, and silence, gaps and loops are handled."""

import dataclasses
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_whisper import Scripted, folder_of, said, windows_of
from pydantic import ValidationError

from service import manifest as manifests
from service.contract import Arrays
from service.errors import InvalidInput, TooLarge, UnsupportedMedia
from service.manifest import Data, GraphFile, Manifest, Parity
from service.providers import Precision
from service.speech.folding import begins
from service.speech.window import MAX_BANNED
from service.tasks import Item
from service.tasks import automatic_speech_recognition as task


@pytest.fixture
def assets(tmp_path: Path) -> task.Assets:
    return task.load_assets(folder_of(tmp_path))


def wav(samples: np.ndarray, rate_hz: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(round(seconds * 16_000)) / 20


def answer(runner: Any, assets: task.Assets, items: Sequence[Item]) -> task.Response:
    rows = task.forward(runner, assets, items)
    return task.postprocess(task.example(), assets, items, rows)


def test_windows_of_a_batch_are_joined_with_their_times(assets: task.Assets) -> None:
    script = {
        (0, 0): said(assets, 0.0, " One two", 2.0, 2.0, " three.", 9.5),
        (1, 0): said(assets, 0.5, " Four.", 4.0),
    }
    found = answer(Scripted(assets, script), assets, windows_of(10, 5))
    assert found.text == "One two three. Four."
    assert [tuple(dict(segment).values())[:3] for segment in found.segments] == [
        (0.0, 2.0, "One two"),
        (2.0, 9.5, "three."),
        (10.5, 14.0, "Four."),
    ]
    assert found.duration_s == 15
    assert found.language == "en"


def test_the_rest_of_a_window_that_ended_early_follows(assets: task.Assets) -> None:
    script = {
        (0, 0): said(assets, 0.0, " One", 4.0, 4.0),
        (0, 400): said(assets, 0.0, " two", 3.0, 3.0),
        (0, 700): said(assets, 0.2, " three", 2.0),
        (1, 0): said(assets, 0.0, " Four.", 6.0),
    }
    runner = Scripted(assets, script)
    found = answer(runner, assets, windows_of(10, 10))
    assert found.text == "One two three Four."
    assert [(s.start_s, s.end_s) for s in found.segments] == [(0, 4), (4, 7), (7.2, 9), (10, 16)]
    assert runner.batches == [2, 1, 1]


def test_many_windows_are_encoded_two_at_a_time(assets: task.Assets) -> None:
    words = (" one", " two", " three", " four", " five")
    script = {(at, 0): said(assets, 0.0, word, 9.0) for at, word in enumerate(words)}
    runner = Scripted(assets, script)
    assert answer(runner, assets, windows_of(*[10] * 5)).text == "one two three four five"
    assert runner.batches == [2, 2, 1]


def test_silence_is_encoded_in_groups_where_the_model_can(assets: task.Assets) -> None:
    words = (" one", " two", " three", " four")
    script = {(at, 0): said(assets, 0.0, word, 3.0) for at, word in enumerate(words)}
    runner = Scripted(assets, script)
    folding = dataclasses.replace(assets, folds=True)
    rows = task.forward(runner, folding, windows_of(10, 4, 30, 10.4))
    assert [row["tokens"].tolist() for row in rows] == [script[at, 0] for at in range(4)]
    short, longer = begins(4.0), begins(10.0)
    assert short is not None
    assert longer is not None
    # As each would be alone: only what is folded alike is encoded together.
    assert runner.groups[:3] == [0, len(short), len(longer)]
    assert runner.batches[:3] == [1, 1, 2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_what_computes_in_less_than_float32_folds(
    tmp_path: Path, precision: Precision
) -> None:
    folder = folder_of(tmp_path)
    folded = GraphFile(file="folded.onnx", weights=[], precision=precision)
    manifest = Manifest(
        name="a",
        architecture="whisper",
        config={},
        target="openvino",
        graphs={"folded": folded},
        files={},
        parity=Parity(tolerance=0, graphs={}),
        data=Data(source="none", licence="none"),
        recipe={},
        metrics={},
        revision="",
    )
    (folder / manifests.NAME).write_text(manifest.model_dump_json())
    assert task.load_assets(folder).folds == (precision != "float32")


def test_a_rest_that_gets_no_further_is_left(assets: task.Assets) -> None:
    script = {(0, 0): said(assets, 0.0, " One", 4.0, 4.0), (0, 400): said(assets, 0.0)}
    runner = Scripted(assets, script)
    assert answer(runner, assets, windows_of(10)).text == "One"
    assert runner.batches == [1, 1]


def test_a_window_that_loops_is_decoded_without_the_token(assets: task.Assets) -> None:
    script = {
        (0, 0): said(assets, 0.0, " and " + "1" * 200),
        (1, 0): said(assets, 0.0, " Fine.", 3.0),
    }
    runner = Scripted(assets, script)
    runner.second_choice = said(assets, 0.0, " and one", 4.0)
    assert answer(runner, assets, windows_of(10, 5)).text == "and one Fine."
    assert runner.batches == [2, 1]


def test_a_window_that_loops_for_good_is_given_up(assets: task.Assets) -> None:
    script = {(0, 0): said(assets, 0.0, "1" * 200), (1, 0): said(assets, 0.0, " Fine.", 3.0)}
    runner = Scripted(assets, script)
    monotonous = runner.say

    def never_ending(inputs: Arrays, outputs: Arrays) -> None:
        monotonous(inputs, outputs)
        outputs["logits"][:, 50:60] += 60 - np.arange(10)

    runner.say = never_ending  # type: ignore[method-assign]
    assert answer(runner, assets, windows_of(10, 5)).text == "Fine."
    assert runner.batches == [2] + [1] * MAX_BANNED


class Doubtful(Scripted):
    """Says what a script has, so unsurely that something else is said at any temperature."""

    def say(self, inputs: Arrays, outputs: Arrays) -> None:
        super().say(inputs, outputs)
        outputs["logits"] *= 0.02


def test_a_doubtful_text_is_drawn_again_where_a_temperature_is_given(
    assets: task.Assets,
) -> None:
    words = said(assets, 0.0, " One two three.", 2.0)
    runner = Doubtful(assets, defaultdict(lambda: words))
    (item,) = windows_of(0.4)
    answer(runner, assets, [item])
    assert runner.batches == [1]
    found = answer(runner, assets, [{**item, "temperature": np.array(0.0)}])
    assert runner.batches == [1] * 7
    assert answer(runner, assets, [{**item, "temperature": np.array(0.0)}]) == found


def test_a_sure_text_is_not_drawn_again_and_says_how_sure_it_is(assets: task.Assets) -> None:
    runner = Scripted(assets, {(0, 0): said(assets, 0.0, " One.", 2.0)}, silent=0.1)
    (item,) = windows_of(10)
    (segment,) = answer(runner, assets, [{**item, "temperature": np.array(0.0)}]).segments
    assert runner.batches == [1]
    assert segment.temperature == 0
    assert segment.avg_logprob == pytest.approx(0, abs=0.1)
    assert segment.no_speech_prob == pytest.approx(0.1, abs=0.01)
    assert segment.tokens == assets.tokenizer.encode(" One.").ids


def test_what_was_said_before_stands_before_the_prompt(assets: task.Assets) -> None:
    asked = task.Request(audio=b"x", prompt="x" * 400)
    before, *context, start, plain = task.prompt_of(asked, assets)
    assert before == assets.tokenizer.token_to_id("<|startofprev|>")
    assert context == [assets.tokenizer.token_to_id("x")] * 219
    assert (start, plain) == (assets.start, assets.no_timestamps)
    special = task.Request(audio=b"x", prompt="<|startoftranscript|>")
    assert assets.start not in task.prompt_of(special, assets)[:-2]


@pytest.mark.parametrize(("probability", "text"), [(0.95, ""), (0.7, "Thanks."), (0.1, "Thanks.")])
def test_sure_silence_is_no_text(assets: task.Assets, probability: float, text: str) -> None:
    runner = Scripted(assets, {(0, 0): said(assets, 0.0, " Thanks.", 2.0)}, probability)
    found = answer(runner, assets, windows_of(10))
    assert found.text == text
    assert bool(found.segments) == bool(text)


def test_likely_silence_with_an_unsure_text_is_no_text(assets: task.Assets) -> None:
    script = {(0, 0): said(assets, 0.0, " Thanks.", 2.0)}

    class Unsure(Scripted):
        def say(self, inputs: Arrays, outputs: Arrays) -> None:
            super().say(inputs, outputs)
            others = outputs["logits"][:, 50:60]
            np.maximum(others, 79.5, out=others)

    assert answer(Unsure(assets, script, 0.7), assets, windows_of(10)).text == ""
    assert answer(Unsure(assets, script, 0.5), assets, windows_of(10)).text == "Thanks."


def test_suppressed_tokens_are_those_of_the_package(assets: task.Assets) -> None:
    no_timestamps = assets.tokenizer.token_to_id("<|notimestamps|>")
    assert assets.suppressed.tolist() == [0, 1]
    assert assets.suppressed_first.tolist() == [2]
    assert assets.first_timestamp == no_timestamps + 1


def test_without_timestamps_a_segment_is_a_window(assets: task.Assets) -> None:
    runner = Scripted(assets, {(0, 0): said(assets, " One."), (1, 0): said(assets, " Two.")})
    runner.said_before = 1
    items = windows_of(10, 5)
    for item in items:
        item["prompt"] = np.array([assets.start, assets.no_timestamps])
    found = answer(runner, assets, items)
    assert [tuple(dict(segment).values())[:3] for segment in found.segments] == [
        (0.0, 10.0, "One."),
        (10.0, 15.0, "Two."),
    ]
    assert runner.batches == [2]


def test_an_english_only_model_knows_no_languages(assets: task.Assets) -> None:
    assert task.prompt_of(task.Request(audio=b"x", timestamps=True), assets) == [assets.start]
    assert task.prompt_of(task.Request(audio=b"x"), assets) == [assets.start, assets.no_timestamps]
    with pytest.raises(InvalidInput, match=r"^language: 'de' is not one of auto, en"):
        task.preprocess(task.Request(audio=wav(noise(1)), language="de"), assets)


def test_a_multilingual_model_is_told_the_language(assets: task.Assets) -> None:
    many = task.Assets(**{**vars(assets), "languages": {"en": 258, "de": 259}})
    request = task.Request(audio=wav(noise(1)), language="de", timestamps=True)
    (item,) = task.preprocess(request, many)
    assert item["prompt"].tolist() == [assets.start, 259, assets.tasks["transcribe"]]
    with pytest.raises(InvalidInput, match="'xx' is not one of auto, de, en"):
        task.preprocess(task.Request(audio=wav(noise(1)), language="xx"), many)


class Speaking(Scripted):
    """Says what a script has, in a language that is heard in the first window alone."""

    def say(self, inputs: Arrays, outputs: Arrays) -> None:
        super().say(inputs, outputs)
        spoken = {True: "<|de|>", False: "<|en|>"}
        for row, position, heard in zip(
            outputs["logits"], inputs["past_lengths"], inputs["cross_key_0"], strict=True
        ):
            if position == 0:
                row[self.assets.tokenizer.token_to_id(spoken[heard[0, 0, 0] == 0])] = 50


def test_all_windows_are_in_the_language_of_the_first(assets: task.Assets) -> None:
    token = assets.tokenizer.token_to_id
    codes = {code: token(f"<|{code}|>") for code in ("en", "de")}
    many = task.Assets(**{**vars(assets), "languages": codes})
    runner = Speaking(many, {(0, 0): said(many, " Eins."), (1, 0): said(many, " Zwei.")})
    runner.said_before = 3
    items = windows_of(10, 5)
    prompt = task.prompt_of(task.Request(audio=b"x", task="translate"), many)
    assert prompt == [many.start, many.start, token("<|translate|>"), many.no_timestamps]
    for item in items:
        item |= {"prompt": np.array(prompt), "opening": items[0]["features"]}
    rows = task.forward(runner, many, items)  # type: ignore[arg-type]
    assert [row["language"].tolist() for row in rows] == [[codes["de"]]] * 2
    found = task.postprocess(task.example(), many, items, rows)
    assert (found.text, found.language) == ("Eins. Zwei.", "de")
    assert runner.batches == [2, 1]


def test_an_english_only_model_does_not_translate(assets: task.Assets) -> None:
    with pytest.raises(InvalidInput, match=r"^task: "):
        task.preprocess(task.Request(audio=wav(noise(1)), task="translate"), assets)


def test_a_long_recording_is_cut_into_windows(assets: task.Assets) -> None:
    items = task.preprocess(task.Request(audio=wav(noise(70))), assets)
    assert len(items) == 3
    assert sum(map(task.cost, items)) == 3
    assert float(items[0]["start_s"]) == 0
    assert float(items[-1]["end_s"]) == 70


def test_a_recording_over_the_limit_is_refused(assets: task.Assets) -> None:
    file = io.BytesIO()
    silence = np.zeros(8_000 * (task.MAX_DURATION_S + 1), np.int16)
    soundfile.write(file, silence, 8_000, format="FLAC", subtype="PCM_16")
    with pytest.raises(TooLarge, match=r"^audio: 1801\.0 s of audio; at most 1800 s"):
        task.preprocess(task.Request(audio=file.getvalue()), assets)


def test_other_bytes_are_refused(assets: task.Assets) -> None:
    with pytest.raises(UnsupportedMedia, match=r"^audio: "):
        task.preprocess(task.Request(audio=b"plain text"), assets)


@pytest.mark.parametrize(
    "fields", [{}, {"audio": b""}, {"audio": b"x", "language": ""}, {"audio": b"x", "beam": 1}]
)
def test_a_request_outside_its_limits_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task.Request(**fields)


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="26214400"):
        task.Request(audio=bytes(task.MAX_AUDIO_BYTES + 1))


def test_the_example_fits_the_contract(assets: task.Assets) -> None:
    (item,) = task.preprocess(task.example(), assets)
    spec = task.CONTRACT["encoder"].inputs["features"]
    assert item["features"].shape == (80, 3_000)
    assert item["features"].dtype == spec.dtype


def test_a_window_is_transcribed_alike_alone_and_in_a_batch(
    assets: task.Assets, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from models.architectures.whisper import PRESETS, build, graphs
    from models.reference import Reference

    monkeypatch.setattr(task, "MAX_NEW_TOKENS", 12)
    torch.manual_seed(0)
    runner: Any = Reference(graphs(build(PRESETS["testing"]).eval()))
    audio = wav(noise(40))
    items = task.preprocess(task.Request(audio=audio, timestamps=True), assets)
    items += task.preprocess(task.Request(audio=audio), assets)
    together = task.forward(runner, assets, items)
    alone = [task.forward(runner, assets, [item])[0] for item in items]
    assert [row["tokens"].tolist() for row in together] == [row["tokens"].tolist() for row in alone]


@pytest.fixture(scope="module")
def tiny_en() -> tuple[Any, task.Assets]:
    from export.source import from_package
    from models.reference import Reference

    trained = from_package("tiny.en")
    assets = task.load_assets(trained.assets[0].parent)
    return Reference(trained.architecture.graphs(trained.model)), assets


@pytest.mark.whisper
def test_tiny_en_hears_the_example(tiny_en: tuple[Any, task.Assets]) -> None:
    runner, assets = tiny_en
    example = task.example()
    for request in (example, example.model_copy(update={"timestamps": True})):
        found = answer(runner, assets, task.preprocess(request, assets))
        assert found.text == "Good morning, please open the window and close the door."
        assert task.EXPECTED in found.text
    assert found.segments[0].start_s == 0
    assert found.segments[-1].end_s == pytest.approx(4.1, abs=0.3)


@pytest.mark.whisper
def test_tiny_en_hears_nothing_in_silence(tiny_en: tuple[Any, task.Assets]) -> None:
    runner, assets = tiny_en
    items = task.preprocess(task.Request(audio=wav(np.zeros(80_000))), assets)
    assert answer(runner, assets, items).text == ""
