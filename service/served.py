"""one version of a model → what it is, whether it is in memory, and why not."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from service.errors import Unavailable
from service.loaded import Loaded
from service.manifest import Manifest
from service.tasks import Task
from service.telemetry import Labels

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Between attempts to load what did not load; the pause doubles."""


@dataclass(eq=False)
class Served:
    """A version that may be asked for; used from one event loop only."""

    task: Task
    """As this kind of model does it."""
    name: str
    version: str = ""
    folder: Path | None = None
    manifest: Manifest | None = None
    """None where it could not be read; loading says why."""
    bytes: int = 0
    """Estimated memory, once it is loaded."""
    candidate: bool = False
    """It is tried beside the version that the name means, and counted by itself."""
    loaded: Loaded | None = None
    loading: asyncio.Task[None] | None = None
    waiting: int = 0
    """Requests that wait until it is loaded."""
    fault: str = ""
    """Why it could not be loaded, or may not be."""
    retry_s: float = 0.0
    """Until then, by `time.monotonic`, nobody tries again."""
    _pause_s: float = 0.0

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}" if self.version else self.name

    @property
    def labels(self) -> Labels:
        return Labels(self.task.name, self.tag if self.candidate else self.name)

    @property
    def idle(self) -> bool:
        """In memory, and nobody uses it or is about to."""
        return self.loaded is not None and not self.loaded.gate.inside and not self.waiting

    def failed(self, fault: str) -> None:
        """It could not be loaded; the next attempt has to wait, longer each time."""
        self.fault = fault
        self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self.retry_s = monotonic() + self._pause_s

    def bar(self, why: str) -> None:
        """It is not to be loaded until `allow`."""
        self.fault, self.retry_s = why, math.inf

    def allow(self) -> None:
        """What was wrong is forgotten."""
        self.fault, self.retry_s, self._pause_s = "", 0.0, 0.0

    def refusal(self) -> Unavailable:
        """What to say to those who ask for it."""
        left_s = self.retry_s - monotonic()
        return Unavailable(self.fault, retry_after_s=None if left_s == math.inf else max(0, left_s))

    def refuse(self) -> None:
        """Raise Unavailable where it could not be loaded a short while ago."""
        if self.fault and monotonic() < self.retry_s:
            raise self.refusal()
