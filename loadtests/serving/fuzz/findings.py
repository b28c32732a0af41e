"""requests sent on a door and what came back → counts, and the requests to look at."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

KEPT = 20
"""Failing requests written per door."""


@dataclass
class Findings:
    """What one generator saw; threads share it."""

    door: str
    folder: Path
    seen: Counter[str] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.seen[what] += 1

    def miss(self, why: str, request: bytes) -> None:
        """Something that must not come; the request is kept in a file."""
        with self.lock:
            self.misses.append(why)
            if len(self.misses) <= KEPT:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{self.door.replace(' ', '-')}-{len(self.misses)}.bin"
                path.write_bytes(request)

    @property
    def sent(self) -> int:
        return sum(self.seen.values())

    def summary(self) -> str:
        counts = ", ".join(f"{count}x {what}" for what, count in self.seen.most_common(8))
        return f"{self.sent} requests: {counts}"
