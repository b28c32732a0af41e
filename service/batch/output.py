"""shards that are done → files of a folder, each there as a whole or not at all.

A shard's file is the only word on whether it is done: it is written under another name, forced to
the disk and renamed. What was asked for stands in `manifest.json`, and a run that asks for
something else does not go on here.
"""

import fcntl
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from service.errors import InvalidInput

MANIFEST, LOCK = "manifest.json", ".lock"
UNFINISHED = ".unfinished"


class Asked(BaseModel):
    """What makes the results what they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    model: str
    """Name and version."""
    input: str
    """Digest of the names, sizes and times of its files."""
    columns: dict[str, str]
    """Field of a request → column."""
    fixed: dict[str, str]
    """Field of a request → its value in all of them."""
    shard_items: int


class Output:
    """The folder of a run. Only one may write there at a time; a lock that ends with it says so."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Raises InvalidInput where another run writes there, or the folder holds other things."""
        self.folder, self._suffix = folder, suffix
        there = folder / MANIFEST
        if folder.exists() and not there.exists() and any(self._foreign()):
            raise InvalidInput(f"{folder} holds other things; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InvalidInput(f"another run writes to {folder}") from error
        for left in folder.glob(f"*{UNFINISHED}"):
            left.unlink()
        self.asked = Asked.model_validate_json(there.read_bytes()) if there.exists() else None
        """What the run that began here was asked for; None where none has."""
        self._done = {path.name for path in folder.glob(f"part-*{suffix}")}

    def _foreign(self) -> list[Path]:
        own = (LOCK, MANIFEST + UNFINISHED)
        return [path for path in self.folder.iterdir() if path.name not in own]

    def begin(self, asked: Asked) -> None:
        """Begin, or go on; raises InvalidInput where what was begun is something else."""
        if self.asked is None:
            self._put(MANIFEST, asked.model_dump_json(indent=1).encode())
            self.asked = asked
        for field in Asked.model_fields:
            was, wanted = getattr(self.asked, field), getattr(asked, field)
            if was != wanted:
                begun = f"{self.folder} was begun with {was!r}, not {wanted!r}"
                raise InvalidInput(f"{begun}; choose another folder", field)

    def _name(self, number: int) -> str:
        return f"part-{number:08}{self._suffix}"

    def done(self, number: int) -> bool:
        """The shard was there when this run began."""
        return self._name(number) in self._done

    def put(self, number: int, content: bytes) -> None:
        """Write a shard; it is done when this returns, and not before."""
        self._put(self._name(number), content)

    def _put(self, name: str, content: bytes) -> None:
        unfinished = self.folder / f"{name}{UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self.folder / name)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        self._lock.close()
