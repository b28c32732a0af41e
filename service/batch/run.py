"""records, workers → a folder of results: every item once, in order, however often it is killed."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.batch.asking import Asking
from service.batch.output import Output
from service.batch.records import Columns, Record
from service.batch.rows import Row, shown
from service.batch.shards import Line, Shard, shards
from service.batch.worker import SHARDS, Answer, Asked, Lost, Worker
from service.errors import Problem


class Done(NamedTuple):
    """A shard that is in the folder."""

    items: int
    size_bytes: float
    errors: int
    before: bool
    """It was there when the run began."""


@dataclass
class Run:
    """What is to be answered, and where the answers go."""

    asking: Asking
    model: str
    """Name and version of the one that answers."""
    output: Output
    written: Callable[[Sequence[Row]], bytes]
    report: Callable[[Done], None]
    """Told of each shard in the event loop, or in a thread of its."""
    workers: Sequence[Worker] = field(default_factory=list)

    def _left(self, records: Iterable[Record], shard_items: int) -> Iterator[Shard]:
        for shard in shards(records, shard_items):
            if self.output.done(shard.number):
                self.report(Done(len(shard.records), shard.size_bytes, 0, before=True))
            else:
                yield shard

    async def all(self, records: Iterable[Record], shard_items: int) -> None:
        """Return when every shard is in the folder."""
        line = Line(self._left(records, shard_items))
        lanes = [
            asyncio.create_task(self._work(worker, line))
            for _ in range(SHARDS)
            for worker in self.workers  # each has one before anybody has a second
        ]
        try:
            # The first to end does so when nothing is left anywhere, or because something is wrong.
            ended, _ = await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
            for lane in ended:
                lane.result()
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _work(self, worker: Worker, line: Line) -> None:
        while shard := await line.take():
            given, asked = await asyncio.to_thread(self._read, shard)
            try:
                answers = await worker.answers(asked)
            except Lost:
                await line.give_back(shard)
                await worker.start(self.model)
                continue
            await asyncio.to_thread(self._write, shard, given, answers)
            errors = sum(answer.error is not None for answer in answers)
            self.report(Done(len(answers), shard.size_bytes, errors, before=False))
            await line.done()

    def _read(self, shard: Shard) -> tuple[list[Columns], list[Asked]]:
        given, asked = list[Columns](), list[Asked]()
        for record in shard.records:
            columns: Columns = {}
            try:
                columns = record.read()
                one: Asked = self.asking.request(columns)
            except Problem as problem:
                one = str(problem)
            given.append(shown(columns))
            asked.append(one)
        return given, asked

    def _write(self, shard: Shard, given: Sequence[Columns], answers: Sequence[Answer]) -> None:
        rows = [
            {
                "file": record.file,
                "row": record.row,
                "input": columns,
                "answer": answer.response,
                "error": answer.error,
            }
            for record, columns, answer in zip(shard.records, given, answers, strict=True)
        ]
        self.output.put(shard.number, self.written(rows))
