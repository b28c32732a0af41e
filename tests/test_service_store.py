"""Model folders go into the store once per content, and only whole ones come out."""

import json
import shutil
from pathlib import Path

import bentoml
import pytest

from service import manifest as manifests
from service import store
from service.manifest import Data, Manifest, Parity, sha256


def model_folder(folder: Path, content: str = "a", name: str = "tiny") -> Path:
    """A model of one text file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.txt").write_text(content)
    manifest = Manifest(
        name=name,
        architecture="none",
        config={},
        target="cpu",
        graphs={},
        files={"words.txt": sha256(folder / "words.txt")},
        parity=Parity(tolerance=0, graphs={}),
        data=Data(source="none", licence="none"),
        recipe={},
        metrics={},
        revision="unknown",
    )
    (folder / manifests.NAME).write_text(json.dumps(manifest.model_dump()))
    return folder


def test_what_was_installed_is_found_by_name_and_tag(tmp_path: Path) -> None:
    assert store.locate("tiny") is None
    tag = store.install(model_folder(tmp_path / "tiny"))
    assert tag.startswith("tiny:")
    assert store.holds(tag)
    found = store.locate("tiny")
    assert found is not None
    assert (found / "words.txt").read_text() == "a"
    assert manifests.damaged(found, manifests.read(found)) == []


def test_the_same_content_is_the_same_version_and_stored_once(tmp_path: Path) -> None:
    first = store.install(model_folder(tmp_path / "one"))
    assert store.install(model_folder(tmp_path / "two")) == first
    assert len(bentoml.models.list("tiny")) == 1


def test_other_content_is_another_version_and_the_newest_is_found(tmp_path: Path) -> None:
    first = store.install(model_folder(tmp_path / "one", "a"))
    second = store.install(model_folder(tmp_path / "two", "b"))
    assert first != second
    assert store.holds(first)
    found = store.locate("tiny")
    assert found is not None
    assert (found / "words.txt").read_text() == "b"


def test_a_version_that_is_not_there_is_not_held() -> None:
    assert not store.holds("tiny:0123456789ab")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda file: file.write_text("b"), ["words.txt is changed"]),
        (lambda file: file.unlink(), ["words.txt is missing"]),
        (lambda file: None, []),
    ],
    ids=["changed", "missing", "whole"],
)
def test_damage_is_found_by_file(tmp_path: Path, damage: object, fault: list[str]) -> None:
    folder = model_folder(tmp_path / "tiny")
    damage(folder / "words.txt")  # type: ignore[operator]
    assert manifests.damaged(folder, manifests.read(folder)) == fault


def test_every_folder_with_a_manifest_is_shipped(tmp_path: Path) -> None:
    model_folder(tmp_path / "tiny")
    (tmp_path / "empty").mkdir()
    assert store.shipped(tmp_path) == {"tiny": tmp_path / "tiny"}


def test_the_version_does_not_depend_on_the_order_of_the_files(tmp_path: Path) -> None:
    manifest = manifests.read(model_folder(tmp_path / "tiny"))
    files = {"a": "1" * 64, "b": "2" * 64}
    backwards = dict(reversed(list(files.items())))
    versions = {manifest.model_copy(update={"files": of}).version for of in (files, backwards)}
    assert len(versions) == 1
    assert manifest.version not in versions


@pytest.mark.parametrize("left", [(), ("model.yaml",), ("model.yaml", manifests.NAME)])
def test_what_an_interrupted_install_left_is_installed_anew(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    tag = store.install(model_folder(tmp_path / "tiny"))
    entry = store.locate("tiny")
    assert entry is not None
    for file in entry.iterdir():
        if file.name not in left:
            file.unlink()
    assert not store.holds(tag)
    assert store.install(tmp_path / "tiny") == tag
    assert store.holds(tag)
    assert store.newest("tiny") == tag


def test_a_half_installed_model_is_none() -> None:
    assert store.newest("tiny") is None
    assert not store.holds("not installed: no network")


def test_an_install_that_breaks_off_leaves_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    folder = model_folder(tmp_path / "tiny")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", full)
        with pytest.raises(OSError, match="no space"):
            store.install(folder)
    assert store.locate("tiny") is None
    assert store.holds(store.install(folder))
