"""a long recording → its text piece by piece: cut where nobody speaks, transcribed side by side.

Pieces share batches with all other requests. A few are ahead of the oldest that is not finished, so
that neither the queue nor the memory holds a whole recording.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from service import audio
from service.deadline import within
from service.engine import Engine
from service.errors import DeadlineExceeded, InvalidInput, Overloaded
from service.loaded import Loaded
from service.log_mel import RATE_HZ
from service.schema import Timings
from service.served import Served
from service.speech.pieces import Cutting, pieces
from service.tasks import Item, Row
from service.tasks import automatic_speech_recognition as speech

AHEAD = 8
"""Pieces that wait or are transcribed: more are little faster, and make the first text later."""
WAIT_S = 0.2
"""At least so long until a piece that was turned away comes again."""


@dataclass
class Recording:
    """What is asked of a recording, and how it is told to be cut."""

    data: bytes
    request: speech.Request
    """Without the recording."""
    max_duration_s: float
    deadline_s: float
    """By `time.monotonic`."""
    priority: int = 0
    cutting: Cutting = field(default_factory=Cutting)
    duration_s: float = 0.0
    """As far as it has been heard."""

    def items(self, assets: speech.Assets) -> Iterator[Item]:
        """One for each piece, made when it is wanted; raises what decoding raises."""
        heard = audio.blocks(
            self.data, field="audio", rate_hz=RATE_HZ, max_duration_s=self.max_duration_s
        )
        cut = pieces(self._counted(heard), self.cutting)
        for start, samples in cut:
            # Times tell where a text ends before its piece does.
            timed = self.request.model_copy(update={"timestamps": True})
            item = speech.item_of(timed, assets, start, samples)
            yield {**item, "speech": np.array(True)}

    def speaks(self, language: str) -> None:
        """What language it is in has been heard."""
        self.request = self.request.model_copy(update={"language": language})

    def answer(
        self, loaded: Loaded, done: Sequence[tuple[Item, Row]], timings: Timings
    ) -> speech.Response:
        """The whole text; empty where nobody spoke."""
        language = self.request.language
        response = speech.Response(
            text="",
            language="en" if language == speech.DETECTED else language,
            duration_s=0,
            segments=[],
        )
        if done:
            items, rows = zip(*done, strict=True)
            response = speech.postprocess(self.request, loaded.assets, items, rows)
        known = {"model": loaded.name, "timings_ms": timings}
        return response.model_copy(update={**known, "duration_s": round(self.duration_s, 3)})

    def _counted(self, blocks: Iterator[Any]) -> Iterator[Any]:
        for block in blocks:
            self.duration_s += len(block) / RATE_HZ
            yield block
        if not self.duration_s:
            raise InvalidInput("the audio has no samples", "audio")


async def _transcribed(
    loaded: Loaded, item: Item, asked: Recording, timeout_s: float, *, patient: bool
) -> Row:
    """The row of one piece; where all are busy, one that is patient comes again."""
    while True:
        left_s = asked.deadline_s - monotonic()
        if left_s <= 0:
            raise DeadlineExceeded("the recording is longer than could be transcribed in time")

        async def work(deadline_s: float) -> Row:
            (row,), _, _ = await loaded.rows([item], deadline_s, priority=asked.priority)
            return row

        try:
            row = await within(min(left_s, timeout_s), work, loaded.name)
        except Overloaded as busy:
            if not patient:
                raise
            await asyncio.sleep(min(max(busy.retry_after_s or 0, WAIT_S), left_s))
        else:
            return row


async def transcribe(
    engine: Engine, model: Served, asked: Recording
) -> AsyncGenerator[str | speech.Response]:
    """What is said, as text that follows the text so far, and at last the response.

    Raises a Problem; closing the iterator drops what is under way.
    """
    timeout_s = engine.settings.of(model.name).timeout_s
    async with engine.held(model) as loaded:
        speech.check(asked.request, loaded.assets)
        began_s, loop = monotonic(), asyncio.get_running_loop()
        items = asked.items(loaded.assets)
        waiting: deque[tuple[Item, asyncio.Task[Row]]] = deque()
        done: list[tuple[Item, Row]] = []
        text, more = "", True
        try:
            while more or waiting:
                # All pieces are in the language of the first.
                known = asked.request.language != speech.DETECTED or not loaded.assets.languages
                while more and len(waiting) < (AHEAD if known else 1):
                    item = await loop.run_in_executor(loaded.workers, next, items, None)
                    more = item is not None
                    if item is not None:
                        work = _transcribed(
                            loaded, item, asked, timeout_s, patient=bool(waiting or done)
                        )
                        waiting.append((item, asyncio.create_task(work)))
                    if waiting and waiting[0][1].done():
                        break
                if waiting:
                    item, working = waiting[0]
                    row = await working
                    waiting.popleft()
                    if not known:
                        asked.speaks(loaded.assets.spoken(row["language"]))
                    done.append(({name: item[name] for name in ("start_s", "end_s")}, row))
                    said = speech.continued(text, item, row["tokens"].tolist(), loaded.assets)
                    if said != text:
                        yield said[len(text) :]
                        text = said
        finally:
            left = [working for _, working in waiting]
            for working in left:
                working.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        yield asked.answer(loaded, done, Timings(compute_ms=(monotonic() - began_s) * 1e3))
