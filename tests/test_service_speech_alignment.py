"""When words were heard: the way through attention, its parts beside the library's, the whole."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_whisper import Scripted, folder_of, said, windows_of
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper import generation_whisper as library

from models.architectures import whisper
from models.whisper_weights import from_hugging_face
from service.decoder import complete, passed
from service.errors import InvalidInput
from service.speech.alignment import passage, path, smoothed, standing_out, token_times
from service.tasks import automatic_speech_recognition as task

HEADS = ((0, 1), (1, 0), (1, 1))
CONFIG = whisper.Config(
    vocab=300, width=32, heads=2, hidden=64, encoder_layers=2, decoder_layers=2,
    alignment_heads=HEADS,
)  # fmt: skip


class Generated(SimpleNamespace):
    """What the library's greedy search gives: it holds no beams."""

    def __contains__(self, name: str) -> bool:
        return False


def tiny() -> tuple[WhisperForConditionalGeneration, whisper.Whisper]:
    """One random model in the library and here."""
    torch.manual_seed(5)
    theirs = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=300, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
            decoder_ffn_dim=64, init_std=0.5, attn_implementation="eager",
            pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
        )
    ).eval()  # fmt: skip
    ours = whisper.build(CONFIG).eval()
    ours.load_state_dict(from_hugging_face(theirs.state_dict()))
    return theirs, ours


@torch.no_grad()
def test_words_are_timed_as_in_the_library() -> None:
    theirs, ours = tiny()
    features, tokens = torch.randn(1, 80, 3_000), torch.randint(300, (1, 14))
    out = theirs(features, decoder_input_ids=tokens, output_attentions=True)
    weights = ours.align(features, tokens)
    for index, (layer, head) in enumerate(HEADS):
        torch.testing.assert_close(weights[0, index], out.cross_attentions[layer][0, head])
    generated = Generated(cross_attentions=[out.cross_attentions], sequences=tokens)
    for duration_s in (30.0, 12.34):
        wanted = theirs._extract_token_timestamps(
            generated, HEADS, num_frames=2 * round(duration_s / 0.02), num_input_ids=0
        )
        # The library leaves the prompt out before it normalises, and the end token after: here
        # there is no prompt, and every position counts.
        listening = [head[:, : round(duration_s / 0.02)].numpy() for head in weights[0]]
        found = path(-np.mean([smoothed(_unshared(each)) for each in listening], axis=0)) * 0.02
        assert np.abs(found - wanted[0, :-1].numpy()).max() <= 0.02


def _unshared(weights: np.ndarray) -> np.ndarray:
    """As the library has it, which does not take shares of what is heard within the frames."""
    return (weights - weights.mean(axis=0)) / weights.std(axis=0)


def test_the_median_and_the_way_are_the_librarys() -> None:
    random = np.random.default_rng(1)
    for rows, frames in ((1, 1), (1, 9), (5, 5), (7, 40), (30, 200), (9, 4)):
        cost = random.normal(size=(rows, frames))
        text, time = library._dynamic_time_warping(cost)
        first = [int(time[text == row][0]) for row in range(rows)]
        assert path(cost).tolist() == first
        if frames > 3:
            wanted = library._median_filter(torch.from_numpy(cost)[None, None], 7)[0, 0]
            np.testing.assert_array_equal(smoothed(cost), wanted.numpy())


def test_equal_costs_have_the_librarys_way() -> None:
    cost = np.zeros((6, 11))
    text, time = library._dynamic_time_warping(cost)
    assert path(cost).tolist() == [int(time[text == row][0]) for row in range(6)]


def test_tokens_begin_where_their_heads_listen() -> None:
    """Positions of a prompt of two, of a text of three, and of the end: each foretells the next."""
    weights = np.full((2, 6, 1_500), 1e-6, np.float32)
    for position, frame in enumerate((700, 10, 60, 130, 200, 900)):
        weights[:, position, frame : frame + 30] = 1.0
    times_s = token_times(weights, text=3, duration_s=30.0)
    assert len(times_s) == 4
    assert (np.diff(times_s) >= 0).all()
    for found_s, frame in zip(times_s[1:], (60, 130, 200), strict=True):
        assert abs(found_s - 0.02 * frame) <= 1.5
    assert token_times(weights, text=3, duration_s=4.0).max() <= 4.0


def test_a_map_without_differences_is_no_fault() -> None:
    flat = np.full((4, 6), 0.25, np.float32)
    assert not standing_out(flat).any()
    assert np.isfinite(token_times(flat[None], text=2, duration_s=0.001)).all()


@pytest.fixture
def assets(tmp_path: Path) -> task.Assets:
    return task.load_assets(folder_of(tmp_path))


def test_a_text_is_heard_once_more_without_its_timestamps(assets: task.Assets) -> None:
    features = np.zeros((80, 3_000), np.float32)
    prompt = assets.prompt(language="en", task="transcribe", timestamps=True, context="Before.")
    run = passage(features, prompt, said(assets, " One"), assets)
    expected = [assets.start, assets.no_timestamps, *said(assets, " One"), assets.end]
    assert run.inputs["tokens"].tolist() == expected


def test_words_get_times_in_the_recording_and_bound_their_segments(assets: task.Assets) -> None:
    script = {
        (0, 0): said(assets, 0.0, " Good day,", 2.0, 2.0, " sir.", 4.0),
        (1, 0): said(assets, 0.0, " Bye.", 2.0),
    }
    runner = Scripted(assets, script)
    items = [{**item, "words": np.array(True)} for item in windows_of(30.0, 10.0)]
    rows = complete(runner, task.encode, [task.generate(item, assets) for item in items])
    assert [len(row["times_s"]) for row in rows] == [len(" Good day, sir."), len(" Bye.")]
    request = task.Request(audio=b"-", words=True)
    response = task.postprocess(request, assets, items, rows)
    words = [word for segment in response.segments for word in segment.words]
    assert [word.text for word in words] == ["Good", "day,", "sir.", "Bye."]
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert words[-1].start_s >= 30
    for segment in response.segments:
        assert (segment.start_s, segment.end_s) == (
            segment.words[0].start_s, segment.words[-1].end_s,
        )  # fmt: skip


def test_no_pass_is_made_where_no_words_are_wanted(assets: task.Assets) -> None:
    runner = Scripted(assets, {(0, 0): said(assets, 0.0, " Bye.", 2.0)})
    (item,) = windows_of(10.0)
    (row,) = complete(runner, task.encode, [task.generate(item, assets)])
    assert not runner.passes
    (segment,) = task.postprocess(task.Request(audio=b"-"), assets, [item], [row]).segments
    assert (segment.words, segment.start_s, segment.end_s) == ([], 0.0, 2.0)


def test_silence_has_no_words(assets: task.Assets) -> None:
    runner = Scripted(assets, {(0, 0): []})
    (item,) = windows_of(10.0)
    (row,) = complete(
        runner, task.encode, [task.generate({**item, "words": np.array(True)}, assets)]
    )
    assert row["times_s"].shape == (0, 2)
    assert not runner.passes


def test_a_model_without_the_graph_says_so(assets: task.Assets) -> None:
    assert not assets.aligns
    with pytest.raises(InvalidInput, match=r"^words: .* exported without"):
        task.check(task.Request(audio=b"-", words=True), assets)


def test_passes_of_one_graph_are_a_batch(assets: task.Assets) -> None:
    features, prompt = (
        np.zeros((80, 3_000), np.float32),
        assets.prompt(language="en", task="transcribe"),
    )
    texts = (said(assets, " a"), said(assets, " longer"))
    passes = [passage(features, prompt, text, assets) for text in texts]
    runner = Scripted(assets, {})
    rows = passed(runner, passes)
    assert len(rows) == 2
    assert runner.passes == [(2, len(passes[1].inputs["tokens"]))]


@pytest.mark.whisper
def test_real_words_lie_in_the_recording_in_their_order() -> None:
    from dataclasses import replace

    from export.source import from_package
    from models.reference import Reference

    trained = from_package("tiny.en")
    assets = replace(task.load_assets(trained.assets[0].parent), aligns=True)
    runner: Any = Reference(trained.architecture.graphs(trained.model))
    request = task.example().model_copy(update={"words": True, "timestamps": True})
    items = task.preprocess(request, assets)
    response = task.postprocess(request, assets, items, task.forward(runner, assets, items))
    words = [word for segment in response.segments for word in segment.words]
    assert " ".join(word.text for word in words) == response.text
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= response.duration_s
    begins_s = {word.text: word.start_s for word in words}
    # There the recording becomes loud again after a pause.
    assert begins_s["please"] == pytest.approx(1.28, abs=0.15)
    assert begins_s["and"] == pytest.approx(2.76, abs=0.15)
