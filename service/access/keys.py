"""an API key → what its holder may do, and whether some of it is left; only hashes are stored.

Keys are random, so that one round of SHA-256 hides them: no dictionary holds 256 random bits. The
file is SQLite's: all workers count in it together, a revoked key is refused at once, and what was
used of a quota outlives a restart.
"""

import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

from service.access import Scope
from service.errors import Forbidden, RateExceeded, Unauthenticated, Unavailable

FIELD = "api_key"
FORM = "att_{id}_{secret}"
ID_BYTES, SECRET_BYTES = 4, 32
MINUTE_S, DAY_S = 60.0, 86_400
WAIT_S = 1.0
"""For another process that writes to the file."""
NOBODY = sha256(b"").digest()
SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash BLOB NOT NULL,
  scopes TEXT NOT NULL,
  per_minute INTEGER,
  per_day INTEGER,
  due_s REAL NOT NULL DEFAULT 0,
  day INTEGER NOT NULL DEFAULT 0,
  used INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True)
class Key:
    """What is known of a key; not the key."""

    id: str
    name: str
    scopes: frozenset[str]
    per_minute: int | None
    """Requests; so many may also come at once."""
    per_day: int | None
    """Requests of one day, UTC."""


class Keys:
    """The keys in one file."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises FileNotFoundError where there is no file and none is to be made."""
        if create:  # readable by its owner only, from the first moment on
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        elif not path.is_file():
            raise FileNotFoundError(path)
        self._file = sqlite3.connect(
            path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(SCHEMA)

    def close(self) -> None:
        self._file.close()

    def make(
        self,
        name: str,
        scopes: frozenset[Scope],
        *,
        per_minute: int | None = None,
        per_day: int | None = None,
    ) -> str:
        """A new key, which is told here only."""
        id_ = secrets.token_hex(ID_BYTES)
        key = FORM.format(id=id_, secret=secrets.token_urlsafe(SECRET_BYTES))
        row = (id_, name, _hashed(key), " ".join(sorted(scopes)), per_minute, per_day)
        with self._written():
            self._file.execute(
                "INSERT INTO keys (id, name, hash, scopes, per_minute, per_day)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        return key

    def revoke(self, id_: str) -> bool:
        """Forget a key; False where there is none of this id."""
        with self._written():
            return self._file.execute("DELETE FROM keys WHERE id = ?", (id_,)).rowcount > 0

    def listed(self) -> list[Key]:
        return [_key(row[:5]) for row in self._rows("", ())]

    def admit(self, presented: str | None, scope: Scope, *, counted: bool = True) -> Key:
        """The key that was presented, if it is one, may do this, and some of it is left.

        Raises Unauthenticated, Forbidden, RateExceeded, or Unavailable where the file is in use.
        """
        if not presented:
            raise Unauthenticated("send an API key as `Authorization: Bearer KEY`", FIELD)
        try:
            found = self._rows("WHERE id = ?", (presented[:64].split("_")[1:2] or [""]))
            known = found[0][5] if found else NOBODY
            if not hmac.compare_digest(_hashed(presented), known) or not found:
                raise Forbidden("Invalid API key", FIELD)
            key = _key(found[0][:5])
            if scope not in key.scopes:
                raise Forbidden(f"the key lacks the scope {scope}", FIELD)
            if counted and (key.per_minute or key.per_day):
                self._count(key)
        except sqlite3.Error as error:
            raise Unavailable("the keys cannot be read now") from error
        return key

    def _count(self, key: Key) -> None:
        """One request more; raises RateExceeded and counts nothing where that is too many."""
        with self._written():
            query = "SELECT due_s, day, used FROM keys WHERE id = ?"
            due_s, day, used = self._file.execute(query, (key.id,)).fetchone() or (0.0, 0, 0)
            now_s = time()
            today = int(now_s // DAY_S)
            if key.per_minute:
                # The generic cell rate algorithm: when the next request would be due if all came
                # evenly, at most a minute ahead (ITU-T I.371). A clock set back is not waited for.
                due_s = max(now_s, min(due_s, now_s + MINUTE_S)) + MINUTE_S / key.per_minute
                early_s = due_s - now_s - MINUTE_S
                if early_s > 1e-6:
                    raise RateExceeded(
                        f"the key allows {key.per_minute} requests a minute", FIELD, early_s
                    )
            if key.per_day:
                used = used + 1 if day == today else 1
                if used > key.per_day:
                    left_s = (today + 1) * DAY_S - now_s
                    raise RateExceeded(
                        f"the key allows {key.per_day} requests a day", FIELD, left_s
                    )
            query = "UPDATE keys SET due_s = ?, day = ?, used = ? WHERE id = ?"
            self._file.execute(query, (due_s, today, used, key.id))

    @contextmanager
    def _written(self) -> Iterator[None]:
        """A transaction that nobody else writes beside."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def _rows(self, where: str, values: tuple[str, ...] | list[str]) -> list[tuple[Any, ...]]:
        query = f"SELECT id, name, scopes, per_minute, per_day, hash FROM keys {where}"
        return self._file.execute(f"{query} ORDER BY name, id", values).fetchall()


def _hashed(key: str) -> bytes:
    return sha256(key.encode(errors="surrogateescape")).digest()


def _key(row: tuple[Any, ...]) -> Key:
    id_, name, scopes, per_minute, per_day = row
    return Key(id_, name, frozenset(scopes.split()), per_minute, per_day)
