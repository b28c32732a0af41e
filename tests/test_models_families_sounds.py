"""Checkpoints of recordings: ours hears the features and gives the logits that the library does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_models_families_images import shuffled

from export.agreement.recordings import file_of, recordings
from export.imported import import_model, read
from models.checkpoint import BadCheckpoint
from models.origin import locate
from service.errors import InvalidInput
from service.explanation import marked
from service.kinds import task_of
from service.kinds.automatic_speech_recognition_ctc import Assets, letters
from service.tasks import task
from service.tasks.automatic_speech_recognition import Request

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {**SIZES, "intermediate_size": 64}
WAVES = {
    **SMALL,
    "conv_dim": [16] * 3,
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 4, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 8,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
HEAD = {"classifier_proj_size": 8, "num_labels": 3}
CTC, CLASSES = "ForCTC", "ForSequenceClassification"
WAVEFORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "wav2vec2-base": ("Wav2Vec2", CTC, WAVES),
    "wav2vec2-large": ("Wav2Vec2", CTC, WAVES | STABLE),
    "hubert": ("Hubert", CTC, WAVES),
    "wav2vec2-classes": ("Wav2Vec2", CLASSES, WAVES | HEAD),
    "wav2vec2-large-weighted": (
        "Wav2Vec2",
        CLASSES,
        WAVES | STABLE | HEAD | {"use_weighted_layer_sum": True},
    ),
    "hubert-weighted": ("Hubert", CLASSES, WAVES | HEAD | {"use_weighted_layer_sum": True}),
}
VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6, "C": 7}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def waveform_checkpoint(folder: Path, kind: str) -> Path:
    prefix, ending, sizes = WAVEFORMS[kind]
    config = getattr(transformers, f"{prefix}Config")(**sizes)
    shuffled(getattr(transformers, f"{prefix}{ending}")(config)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    if ending == CTC:
        (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
        transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    return folder


def agreed(folder: Path, assets: Path) -> dict[str, float]:
    assets.mkdir()
    found = read(locate(str(folder)), assets).imported
    assert found is not None
    return found.agreement


@pytest.mark.parametrize("kind", WAVEFORMS)
def test_samples_logits_and_texts_are_the_librarys(kind: str, tmp_path: Path) -> None:
    found = agreed(waveform_checkpoint(tmp_path / kind, kind), tmp_path / "assets")
    letters = WAVEFORMS[kind][1] == CTC
    assert found.keys() == {"features", "logits"} | ({"texts"} if letters else set())
    assert found["features"] <= 1e-6


def spectrogram_checkpoint(folder: Path) -> Path:
    sizes = {**SMALL, "max_length": 256, "num_mel_bins": 64, "num_labels": 3}
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**sizes))
    shuffled(model).save_pretrained(folder)
    extractor = transformers.ASTFeatureExtractor(num_mel_bins=64, max_length=256)
    extractor.save_pretrained(folder)
    return folder


def test_mel_frames_and_logits_of_ast_are_the_librarys(tmp_path: Path) -> None:
    found = agreed(spectrogram_checkpoint(tmp_path / "ast"), tmp_path / "assets")
    assert found["features"] <= 1e-5


def test_a_model_of_letters_is_published_and_answers_as_its_kind(tmp_path: Path) -> None:
    from service import store

    source = waveform_checkpoint(tmp_path / "wav2vec2-base", "wav2vec2-base")
    manifest = import_model(str(source), out=tmp_path, name="letters")
    of = task("automatic-speech-recognition")
    assert manifest.answers == of.name
    model, _ = store.open_model(tmp_path / "letters", of, threads=1)
    kind = task_of(of, manifest.graphs)
    assets = kind.load_assets(tmp_path / "letters")
    request = Request(audio=file_of(recordings()[0]))
    items = kind.preprocess(request, assets)
    response: Any = kind.postprocess(request, assets, items, kind.forward(model, assets, items))
    assert response.language == "und"
    assert response.duration_s == 1.0
    assert set(response.text) <= set("ABC ")


@pytest.mark.parametrize("name", ["wav2vec2-base", "wav2vec2-classes", "hubert-weighted"])
def test_a_model_of_samples_tells_which_frames_it_heard(name: str, tmp_path: Path) -> None:
    from service import store

    manifest = import_model(str(waveform_checkpoint(tmp_path / name, name)), out=tmp_path, name="a")
    of = task(manifest.answers)
    model, _ = store.open_model(tmp_path / "a", of, threads=1)
    kind = task_of(of, manifest.graphs)
    assets = kind.load_assets(tmp_path / "a")
    request = of.request(audio=file_of(recordings()[0]))
    plain = kind.preprocess(request, assets)
    answers: list[Any] = [
        kind.postprocess(request, assets, items, kind.forward(model, assets, items))
        for items in (plain, marked(plain))
    ]
    assert answers[0] == answers[1].model_copy(update={"attention": []})
    over_all, heads = answers[1].attention
    assert sum(over_all.weights) == pytest.approx(1, abs=1e-3)
    assert [axis.size for axis in heads.axes][:2] == [2, 2]
    assert 0.9 < over_all.axes[0].begins_s[-1] < 1, "the recording is a second long"


def test_a_model_of_letters_does_not_translate() -> None:
    kind = task_of(task("automatic-speech-recognition"), ["ctc"])
    assert kind.generation is None
    asked = Request(audio=file_of(recordings()[0]), task="translate")
    with pytest.raises(InvalidInput, match=r"^task: "):
        kind.preprocess(asked, Assets({}, 0, False, True))


def test_repeated_letters_are_one_unless_a_blank_is_between() -> None:
    written, blank = letters(VOCABULARY, {})
    assets = Assets(written, blank, False, True)
    assert assets.text([1, 5, 5, 0, 5, 4, 4, 0, 4, 6, 6, 3, 7, 2]) == "AA BC"


@pytest.mark.parametrize(
    ("vocabulary", "why"),
    [({"eng": {"a": 0}}, "several languages"), ({"a": 0}, "lacks the blank '<pad>'")],
)
def test_a_vocabulary_that_says_too_little_is_refused(vocabulary: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        letters(vocabulary, {})


def test_a_letter_model_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = waveform_checkpoint(tmp_path / "hubert", "hubert")
    (folder / "vocab.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"vocab\.json is missing"):
        agreed(folder, tmp_path / "assets")


def test_whisper_hears_says_and_is_silent_as_the_library(tmp_path: Path) -> None:
    from fake_whisper import folder_of
    from tokenizers import Tokenizer

    folder = folder_of(tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {name: tokenizer.token_to_id(f"<|{name}|>") for name in ("endoftext", "en")}
    vocab = tokenizer.get_vocab_size() + 1_501
    end = special["endoftext"]
    config = transformers.WhisperConfig(
        vocab_size=vocab,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=128,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=tokenizer.token_to_id("<|startoftranscript|>"),
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config.lang_to_id = {"<|en|>": special["en"]}
    model.generation_config.suppress_tokens = [0, 1]
    model.generation_config.begin_suppress_tokens = [2, end]
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    found = agreed(folder, tmp_path / "assets")
    assert found.keys() == {"features", "logits", "tokens"}
    assert found["features"] <= 1e-4


@pytest.mark.data
def test_kwt_1_agrees_with_the_released_tensors_and_names_keywords(
    data_dir: Path, tmp_path: Path
) -> None:
    from models.datasets import speech_commands

    manifest = import_model(str(data_dir / "kwt1"), out=tmp_path, name="kwt-1")
    assert manifest.imported is not None
    assert manifest.imported.agreement["probabilities"] <= 1e-5
    found = accuracy(tmp_path / "kwt-1", list(speech_commands.examples(data_dir, "test")))
    assert found >= 94


def accuracy(folder: Path, examples: list[Any]) -> float:
    """Of clips in which something is said, in percent."""
    from service import store

    of = task("audio-classification")
    model, _ = store.open_model(folder, of, threads=1)
    assets = of.load_assets(folder)
    spoken = [each for each in examples if each.references != ["_silence_"]]
    right = 0
    for each in spoken:
        items = of.preprocess(each.request, assets)
        answer: Any = of.postprocess(each.request, assets, items, of.forward(model, assets, items))
        right += [answer.labels[0].label] == each.references
    return 100 * right / len(spoken)
