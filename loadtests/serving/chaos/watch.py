"""known requests asked on both doors all the time → every reply while faults happen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from loadtests.serving.attendant import Attendant
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.goldens import Golden
from loadtests.serving.verdict import Row, judged

RECOVERY_S = 10.0
PATIENCE_S = 60.0
PAUSE_S = 0.05
TYPED = frozenset({Kind.ANSWERED, Kind.REFUSED, Kind.UNREACHABLE})
"""What a caller can act on: an answer, a refusal in words, or nobody there."""


@dataclass
class Watch:
    """A server, and those who ask it."""

    server: Attendant
    caller: Caller
    goldens: Sequence[Golden]
    seen: list[tuple[Golden, Reply]] = field(default_factory=list)
    right_s: dict[int, float] = field(default_factory=dict)
    """When the last request of each was sent, where its answer was right."""

    async def recovery_s(
        self, without: str | None = None, limit_s: float = PATIENCE_S
    ) -> float | None:
        """Seconds until every caller, but those of a task, has a right answer to what it asked
        after this call; None if that does not come.

        Seen by the callers themselves: others who asked for it would add to the load.
        """
        began_s = monotonic()
        whose = [number for number, one in enumerate(self.goldens) if one.scenario.task != without]
        while monotonic() - began_s < limit_s:
            if all(self.right_s.get(number, -inf) >= began_s for number in whose):
                return monotonic() - began_s
            await asyncio.sleep(PAUSE_S)
        return None

    async def keep_asking(self, number: int) -> None:
        golden = self.goldens[number]
        while True:
            asked_s = monotonic()
            reply = await self.caller.ask(golden.door, golden.scenario)
            self.seen.append((golden, reply))
            right = reply.kind is Kind.ANSWERED and not golden.wrong(reply)
            self.right_s[number] = asked_s if right else -inf
            await asyncio.sleep(PAUSE_S)

    def verdict(
        self, fault: str, recovery_s: float | None, allowed: frozenset[Kind] = TYPED
    ) -> list[Row]:
        """What came since the last verdict."""
        seen, self.seen = self.seen, []
        kinds = Counter(reply.kind for _, reply in seen)
        wrong = [text for golden, reply in seen if (text := golden.wrong(reply))]
        untyped = [reply.detail for _, reply in seen if reply.kind not in allowed]
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        late = recovery_s is None or recovery_s >= RECOVERY_S
        came = "never" if recovery_s is None else f"{recovery_s:.1f} s"
        first = "".join(f"; {text[:160]}" for text in untyped[:1] + wrong[:1])
        return [
            judged(f"{fault}: all right again", came, f"under {RECOVERY_S:.0f} s", met=not late),
            judged(
                f"{fault}: meanwhile",
                f"{counts}; {len(wrong)} wrong{first}",
                f"only {', '.join(sorted(allowed))}; 0 wrong",
                met=bool(seen) and not untyped and not wrong,
            ),
        ]


@asynccontextmanager
async def watching(
    server: Attendant, caller: Caller, goldens: Sequence[Golden]
) -> AsyncIterator[Watch]:
    """Ask each known request again and again until the block ends."""
    watch = Watch(server, caller, goldens)
    asking = [asyncio.create_task(watch.keep_asking(number)) for number in range(len(goldens))]
    try:
        yield watch
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
