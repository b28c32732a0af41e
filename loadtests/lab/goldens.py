"""calls → the same calls with their right answers: the first one, got alone, or those of a file."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from loadtests.lab.doors import doors
from loadtests.lab.plan import Call
from loadtests.lab.transports import TRANSPORTS
from loadtests.results import Fault
from loadtests.serving.goldens import VARYING

ABSENT = ("404 ", "405 ", "501 ", "UNIMPLEMENTED ")
"""How a server says that it has no such door."""


class Goldens(BaseModel):
    """A file of right answers."""

    model_config = ConfigDict(extra="forbid")

    answers: dict[str, Any]
    """Key of a call → its answer, without times and the model's version."""


def key(call: Call) -> str:
    """Names a call's door and content, whoever sends it."""
    digest = hashlib.sha256(call.target.encode() + b"\0" + call.body).hexdigest()
    return f"{call.name} {digest[:16]}"


def lasting(answer: Any) -> Any:
    """Without what differs from one right answer to the next."""
    if isinstance(answer, dict):
        return {name: lasting(each) for name, each in answer.items() if name not in VARYING}
    return [lasting(each) for each in answer] if isinstance(answer, list) else answer


def from_file(path: Path, calls: Sequence[Call]) -> list[Call]:
    """Raises KeyError, naming the first call that the file does not know."""
    known = Goldens.model_validate_json(path.read_text(encoding="utf-8")).answers
    return [call.model_copy(update={"golden": known[key(call)]}) for call in calls]


def write(calls: Sequence[Call], path: Path) -> None:
    answers = {key(call): lasting(call.golden) for call in calls}
    text = Goldens(answers=answers).model_dump_json(indent=1)
    path.write_text(text + "\n", encoding="utf-8")


async def alone(
    calls: Sequence[Call], addresses: Mapping[str, str], timeout_s: float
) -> tuple[list[Call], dict[str, str]]:
    """Ask each call twice, by itself; returns those with an answer, and why others have none.

    The second answer is kept: the first may be slow, and is that of a server that warms up.
    """
    known = doors()
    transports = {
        name: TRANSPORTS[known[name].transport](address, timeout_s)
        for name, address in addresses.items()
    }
    kept: list[Call] = []
    absent: dict[str, str] = {}
    for call in calls:
        if call.name in absent:
            continue
        for _ in range(2):
            got = await transports[call.door].ask(
                call, (lambda _: None) if known[call.door].first else None
            )
            if got.fault is not None:
                break
        if got.fault is not None:
            absent[call.name] = reason(got.fault, got.detail)
            continue
        try:
            answer = known[call.door].read(call.target, got.content)
        except (ValueError, KeyError, TypeError) as error:
            absent[call.name] = f"not an answer of this door: {error}"
            continue
        kept.append(call.model_copy(update={"golden": answer}))
    for transport in transports.values():
        await transport.close()
    return [call for call in kept if call.name not in absent], absent


def reason(fault: Fault, detail: str) -> str:
    if fault is Fault.INVALID and detail.startswith(ABSENT):
        return f"the server has no such door: {detail[:60]}"
    return f"{fault}: {detail[:200]}"


def asked_alone(
    calls: Sequence[Call], addresses: Mapping[str, str], timeout_s: float = 60.0
) -> tuple[list[Call], dict[str, str]]:
    return asyncio.run(alone(calls, addresses, timeout_s))


def holds(call: Call, expected: str) -> bool:
    """Whether the golden answer has the text that the task's example is known to give.

    In either case of its letters, for a transcript may begin a sentence where another does not.
    """
    return expected.casefold() in json.dumps(call.golden, ensure_ascii=False).casefold()
