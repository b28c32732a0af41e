"""a server whose clock libfaketime tells → the same answers after it has jumped.

Under libfaketime 0.9.10 `time.sleep` fails, which the process of `service serve` needs: the server
is started without it.
"""

from collections.abc import Mapping
from pathlib import Path

from loadtests.serving.chaos.watch import Watch
from loadtests.serving.verdict import Row

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
"""Where Debian's package libfaketime puts it."""
JUMPS = ("+2h", "-2h", "+30d")


def library() -> Path | None:
    return next(Path("/").glob(LIBRARIES.removeprefix("/")), None)


def variables(preload: Path, told: Path) -> Mapping[str, str]:
    """The time of day follows the file `told`; the monotonic clock, which cannot jump, does not."""
    told.write_text("+0")
    return {
        "LD_PRELOAD": str(preload),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # else times of files cannot be copied
    }


async def jumped(watch: Watch, told: Path) -> list[Row]:
    """Ahead, back and far ahead."""
    rows = []
    for jump in JUMPS:
        told.write_text(jump)
        rows += watch.verdict(f"clock {jump}", await watch.recovery_s())
    return rows
