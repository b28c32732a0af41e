"""translated files → links to them: a folder of bounded size, each kept for a bounded time."""

import atexit
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from service.errors import NotFound, TooLarge

NAME = re.compile(r"[A-Za-z0-9_-]{22}\.[\w.-]{1,80}")


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file was made, its bytes, and its path."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another worker made room
            found = path.stat()
            yield found.st_mtime, found.st_size, path


class Files:
    """Files by names that nobody can guess. Workers with the same folder have them in common."""

    def __init__(self, folder: Path | None, limit_bytes: int, keep_s: float) -> None:
        """Without a folder they are in one of this process, which goes with it."""
        self._folder, self._limit_bytes, self._keep_s = folder, limit_bytes, keep_s

    def _there(self) -> Path:
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="attendant-files-"))
            atexit.register(rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder

    def put(self, name: str, content: bytes) -> str:
        """The name to ask for it; the oldest files make room. Raises TooLarge."""
        if len(content) > self._limit_bytes:
            raise TooLarge(f"the translated file is over {self._limit_bytes} bytes", "file")
        folder = self._there()
        kept = sorted(_sizes(folder))
        room = self._limit_bytes - len(content) - sum(size for _, size, _ in kept)
        for made_s, size, path in kept:
            if room >= 0 and made_s > time.time() - self._keep_s:
                break
            room += size
            path.unlink(missing_ok=True)
        given = f"{secrets.token_urlsafe(16)}.{re.sub(r'[^A-Za-z0-9._-]', '_', name)[-80:]}"
        unfinished = folder / f".{given}"
        unfinished.write_bytes(content)
        unfinished.replace(folder / given)
        return given

    def get(self, given: str) -> bytes:
        """Raises NotFound for what is not there, or not any more."""
        if self._folder is not None and NAME.fullmatch(given):
            path = self._folder / given
            with suppress(FileNotFoundError):
                if path.stat().st_mtime > time.time() - self._keep_s:
                    return path.read_bytes()
        raise NotFound("there is no such file, or not any more")
