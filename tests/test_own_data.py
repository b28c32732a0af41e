"""Data of one's own is looked at before any step: all that is wrong with it is said, and where."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from rich.console import Console

from models import own
from models.survey import BadData, Entry, Survey, drawn
from service.directions import Directions, Source, Target
from service.kinds import automatic_speech_recognition_ctc as ctc
from service.kinds import task_of
from service.tasks import audio_classification, image_classification
from service.tasks import task as task_named
from service.tasks.translation import Assets as Translation

RATE_HZ = 16_000
IMAGES, WORDS, SPEECH = (
    task_named(name)
    for name in ("image-classification", "audio-classification", "automatic-speech-recognition")
)
LETTERS = task_of(SPEECH, ["ctc"])


class Words:
    """A vocabulary in which every word is a token."""

    def encode(self, sentence: str) -> list[int]:
        return [9] * len(sentence.split())

    encode_target = encode

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join("x" for _ in tokens)


def knowing(*pairs: tuple[str, str]) -> Translation:
    languages = sorted({language for pair in pairs for language in pair})
    known = Directions(
        sources={language: Source(after=[1]) for language in languages},
        targets={language: Target(before=[5], prompt=[5, 6]) for language in languages},
        pairs=list(pairs),
        end=1,
    )
    return Translation(Words(), known)


EN_DE = knowing(("en", "de"), ("de", "en"))
TRANSLATION = task_named("translation")


def tsv(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def png(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)
    return path


def wav(path: Path, seconds: float = 0.5, hz: float = 300) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time_s), RATE_HZ)
    return path


def shown(found: Survey[Any]) -> str:
    text = io.StringIO()
    found.show(Console(file=text, width=200))
    return text.getvalue()


def many(count: int, **same: str) -> list[Entry]:
    return [Entry(at=str(n), key=str(n), **same) for n in range(count)]


def test_a_tenth_of_each_class_is_drawn_for_dev_and_always_the_same() -> None:
    entries = [*many(40, label="a"), *(Entry(at=f"b{n}", key=f"b{n}", label="b") for n in range(5))]
    once, again = drawn(entries, seed=1), drawn(entries[::-1], seed=1)
    dev = [entry for entry in once if entry.split == "dev"]
    assert sorted(entry.label for entry in dev) == ["a"] * 4 + ["b"]
    assert {entry.key for entry in dev} == {entry.key for entry in again if entry.split == "dev"}
    assert drawn(entries, seed=2) != once


def test_a_speaker_is_in_one_split() -> None:
    entries = [
        Entry(at="", key=f"{speaker}{n}", speaker=f"s{speaker}", label=str(n % 2))
        for speaker in range(10)
        for n in range(6)
    ]
    found = drawn(entries, seed=0)
    splits = {(entry.speaker, entry.split) for entry in found}
    assert len(splits) == 10
    assert sum(split == "dev" for _, split in splits) == 1


def test_a_split_that_is_stated_is_kept() -> None:
    entries = [Entry(at="", key="1", split="dev"), *many(20)]
    assert [entry.split for entry in drawn(entries, seed=0)] == ["dev", *["train"] * 20]


def test_pairs_that_are_empty_long_or_in_two_splits_are_left_out(tmp_path: Path) -> None:
    tsv(
        tmp_path / "train.tsv", "en\tde", "A dog.\tEin Hund.", "A cat.\tEine Katze.",
        "A  DOG.\tein Hund.", "\tNichts.", f"{'long ' * 300}\tLang.",
    )  # fmt: skip
    tsv(tmp_path / "val.tsv", "en\tde", "A cat.\tEine Katze.")
    found = own.surveyed(tmp_path, TRANSLATION, EN_DE)
    assert found.counts == {"train": 2, "dev": 1, "test": 0}
    assert found.errors == []
    said = shown(found)
    for what in (
        "1 x has an empty text, and is left out: train.tsv:5",
        "1 x is longer than 200 tokens, and left out: train.tsv:6",
        "1 x is in train and in another split, and left out of train: train.tsv:3",
    ):
        assert what in said
    assert found.lengths["train"] == [5, 5]


def test_every_direction_that_the_model_knows_is_learnt(tmp_path: Path) -> None:
    path = tsv(tmp_path / "p.tsv", "en\tde\tfr", *(f"a {n}\tb {n}\tc {n}" for n in range(12)))
    assets = knowing(("en", "de"), ("fr", "en"))
    found = own.surveyed(path, TRANSLATION, assets)
    data = own.reader(TRANSLATION).dataset(
        found.splits["train"], TRANSLATION, assets, batch=1_000, seed=0, training=True
    )
    (batch,) = (data.batch(step) for step in range(len(data)))
    assert len(batch["source"]) == 2 * len(found.splits["train"])
    # The prompt [5, 6] is given; what is learnt follows it, up to the end.
    assert batch["target"][0].tolist() == [5, 6, 9, 9]
    assert batch["labels"][0].tolist() == [-100, 9, 9, 1]


def test_columns_of_languages_that_the_model_lacks_are_an_error(tmp_path: Path) -> None:
    path = tsv(tmp_path / "p.tsv", "en\tru", "a\tb", "c\td")
    found = own.surveyed(path, TRANSLATION, EN_DE)
    assert "no two of the columns en, ru are a pair this model knows: de-en, en-de" in shown(found)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["en\tde", "one", "a\tb", "a\tb\tc"], "p.tsv:2 has 1 columns, the header 2\n.*p.tsv:4"),
        (["en\tde\tsplit", "a\tb\tlearn"], "split 'learn' is not one of train, dev, test"),
        (["en\ten", "a\tb"], "its header is en, en"),
        ([], "is empty"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_line(
    lines: list[str], why: str, tmp_path: Path
) -> None:
    with pytest.raises(BadData, match=why):
        own.surveyed(tsv(tmp_path / "p.tsv", *lines), TRANSLATION, EN_DE)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_bytes(b"en\tde\n\xff\xfe\t\n")
    (tmp_path / "p.tsv.gz").write_bytes(b"\x1f\x8bnothing")
    for name in ("p.tsv", "p.tsv.gz", "missing.tsv"):
        with pytest.raises(BadData, match="is no table in UTF-8"):
            own.surveyed(tmp_path / name, TRANSLATION, EN_DE)


PICTURES = image_classification.Assets(["a", "b"])


def test_every_broken_picture_is_named(tmp_path: Path) -> None:
    for number in range(4):
        png(tmp_path / "cat" / f"{number}.png", number)
        png(tmp_path / "dog" / f"{number}.png", 99 + number)
    (tmp_path / "cat" / "torn.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes()[:44])
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / "none.png").write_bytes(b"")
    found = own.surveyed(tmp_path, IMAGES, PICTURES)
    assert len(found.errors) == 3
    with pytest.raises(BadData) as caught:
        found.sound()
    said = str(caught.value)
    assert "cat/torn.png: the picture cannot be decoded: the file is broken" in said
    assert "dog/notes.txt: not a PNG, JPEG or WebP picture" in said
    assert "dog/none.png: " in said


def test_one_class_cannot_be_told_apart(tmp_path: Path) -> None:
    for number in range(4):
        png(tmp_path / "cat" / f"{number}.png", number)
    found = own.surveyed(tmp_path, IMAGES, PICTURES)
    assert found.errors == ["there is one class only, cat: two at least can be told apart"]


def test_a_label_that_train_lacks_is_an_error_and_uneven_classes_are_said(tmp_path: Path) -> None:
    for number in range(22):
        png(tmp_path / "train" / "cat" / f"{number}.png", number)
    for number in (50, 51):
        png(tmp_path / "train" / "dog" / f"{number}.png", number)
        png(tmp_path / "validation" / "emu" / f"{number}.png", 100 + number)
    found = own.surveyed(tmp_path, IMAGES, PICTURES)
    assert found.errors == ["dev has labels that train has not: emu"]
    assert found.warnings == ["uneven classes: cat has 22 items in train, dog 2"]
    assert found.counts == {"train": 24, "dev": 2, "test": 0}


@pytest.mark.parametrize("make", [False, True])
def test_a_path_without_classes_is_refused(make: bool, tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    if make:
        path.mkdir()
    with pytest.raises(BadData, match=r"is no folder of pictures|holds no folder"):
        own.surveyed(path, IMAGES, PICTURES)


def recordings(folder: Path, *rows: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / "r.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "r.csv"


def test_recordings_that_are_missing_broken_unlabelled_or_long_are_said(tmp_path: Path) -> None:
    for number in range(6):
        wav(tmp_path / f"{number}.wav", hz=300 + number)
    wav(tmp_path / "long.wav", seconds=1.5)
    (tmp_path / "torn.wav").write_bytes((tmp_path / "0.wav").read_bytes()[:30])
    rows = [{"file": f"{number}.wav", "label": "ab"[number % 2]} for number in range(6)]
    rows += [{"file": name, "label": "a"} for name in ("long.wav", "torn.wav", "gone.wav")]
    path = recordings(tmp_path, *rows, {"file": "0.wav", "label": ""})
    found = own.surveyed(path, WORDS, audio_classification.Assets(["a", "b"]))
    assert found.errors == [
        "r.csv:9, torn.wav: the audio cannot be decoded: the file is broken",
        "r.csv:10, gone.wav: there is no such file",
        "r.csv:11, 0.wav: has no label",
    ]
    assert found.warnings == [
        "1 x is longer than the model hears at once, and left out: r.csv:8, long.wav"
    ]
    assert found.lengths["train"] == [0.5] * len(found.lengths["train"])


def test_a_table_of_recordings_says_which_columns_it_lacks(tmp_path: Path) -> None:
    path = recordings(tmp_path, {"path": "a.wav", "transcript": "a"})
    with pytest.raises(BadData, match="lacks the columns file, text; its header is path, transc"):
        own.surveyed(path, SPEECH, None)


def test_letters_take_the_case_of_the_vocabulary_and_others_are_left_out(tmp_path: Path) -> None:
    vocabulary = {"<pad>": 0, "|": 1, "A": 2, "b": 3}
    assets = ctc.Assets(*ctc.letters(vocabulary, {}), lower=False, scaled=True)
    for name in ("x", "y", "z"):
        wav(tmp_path / f"{name}.wav", hz=300 + ord(name))
    rows = zip("xyz", ("a B", "café", ""), ("train", "train", "dev"), strict=True)
    path = recordings(
        tmp_path, *({"file": f"{n}.wav", "text": text, "split": part} for n, text, part in rows)
    )
    found = own.surveyed(path, LETTERS, assets)
    assert found.counts["train"] == 1
    assert found.warnings == [
        "1 x has 'c', which the vocabulary lacks, and is left out: r.csv:3, y.wav",
        "1 x has an empty text, and is left out: r.csv:4, z.wav",
    ]
    assert found.errors == ["nothing is left for the dev split"]
    data = own.reader(LETTERS).dataset(
        found.splits["train"], LETTERS, assets, batch=2, seed=0, training=True
    )
    assert data.batch(0)["labels"].tolist() == [[2, 1, 3]]


def test_what_whisper_learns_begins_behind_the_prompt_that_is_served(tmp_path: Path) -> None:
    from fake_whisper import folder_of

    assets = SPEECH.load_assets(folder_of(tmp_path))
    languages = {code: assets.tokenizer.token_to_id(f"<|{code}|>") for code in ("en", "de")}
    assets = replace(assets, languages=languages)
    rows = [
        {"file": wav(tmp_path / f"{n}.wav", hz=300 + n).name, "text": "hi", "language": language}
        for n, language in enumerate(["de", "de", "de", ""])
    ]
    found = own.surveyed(recordings(tmp_path, *rows), SPEECH, assets)
    assert found.errors == [
        "r.csv:5, 3.wav: has no language, and the model knows several: add that column"
    ]
    data = own.reader(SPEECH).dataset(
        found.splits["train"], SPEECH, assets, batch=1, seed=0, training=True
    )
    batch = data.batch(0)
    prompt = assets.prompt(language="de", task="transcribe")
    said = assets.tokenizer.encode(" hi").ids
    assert batch["target"][0].tolist() == [*prompt, *said]
    assert batch["labels"][0].tolist() == [-100] * (len(prompt) - 1) + [*said, assets.end]


def test_what_is_evaluated_are_the_entries_that_training_holds_out(tmp_path: Path) -> None:
    for number in range(30):
        png(tmp_path / "ab"[number % 2] / f"{number}.png", number)
    found = own.surveyed(tmp_path, IMAGES, PICTURES)
    asked = own.examples(tmp_path, IMAGES, "dev", tmp_path)
    held_out = {entry.path.read_bytes() for entry in found.splits["dev"]}  # type: ignore[attr-defined]
    assert {example.request.image for example in asked} == held_out  # type: ignore[attr-defined]
    with pytest.raises(BadData, match="has no test split"):
        own.examples(tmp_path, IMAGES, "test", tmp_path)
