"""requests → answers of a plain BentoML service: its adaptive batching, one worker.

`python -m bentoml serve loadtests.serving.peers.bentoml:Peer --arg task=NAME --arg threads=N`
"""

from typing import Any

import bentoml
from pydantic import BaseModel

from loadtests.serving.peers.served import MAX_BATCH, Served


class Arguments(BaseModel):
    task: str
    threads: int


ARGUMENTS = bentoml.use_arguments(Arguments)


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Peer:
    """Takes `{"contents": [TEXT]}`, for that is how its clients say that they may be batched."""

    def __init__(self) -> None:
        self.served = Served(ARGUMENTS.task, threads=ARGUMENTS.threads)

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, route=f"/{ARGUMENTS.task}")
    def answer(self, contents: list[str]) -> list[dict[str, Any]]:
        return self.served.answer([self.served.read_text(content) for content in contents])
