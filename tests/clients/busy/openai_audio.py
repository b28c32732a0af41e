"""openai 3.54 against a service with more to do than it takes: retries, and a stream that is left.

Arguments: HTTP port, gRPC port, folder of examples.
"""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import openai

base = f"http://127.0.0.1:{sys.argv[1]}"
speech = Path(sys.argv[3]) / "speech.flac"
TEXT = "Good morning.   Open the window, please."
CALLERS = 48
tries: Counter[str] = Counter()
statuses: Counter[int] = Counter()
waits: list[float] = []


async def seen(response: httpx.Response) -> None:
    statuses[response.status_code] += 1
    tries[response.request.headers["x-stainless-retry-count"]] += 1
    if response.status_code == 429:
        waits.append(float(response.headers["retry-after"]))
        assert "x-should-retry" not in response.headers


def running() -> float:
    """Requests that the service is at."""
    text = httpx.get(f"{base}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("attendant_requests_in_flight{")]
    return sum(float(line.split()[-1]) for line in lines if 'door="openai"' in line)


async def crowd() -> list[str]:
    http = httpx.AsyncClient(event_hooks={"response": [seen]}, timeout=120)
    async with openai.AsyncOpenAI(
        base_url=f"{base}/v1", api_key="any", max_retries=8, http_client=http
    ) as client:
        asked = (
            client.audio.transcriptions.create(file=speech, model="whisper-1")
            for _ in range(CALLERS)
        )
        return [answer.text for answer in await asyncio.gather(*asked)]


# All are answered, though some were told to come again.
assert asyncio.run(crowd()) == [TEXT] * CALLERS
assert statuses[200] == CALLERS, statuses
assert statuses[429] > 0, statuses
assert set(statuses) == {200, 429}, statuses
assert tries["1"] > 0, tries
assert all(1 <= wait <= 120 for wait in waits), waits

# Without retries the refusal is the SDK's own.
once = openai.OpenAI(base_url=f"{base}/v1", api_key="any", max_retries=0)
assert once.audio.transcriptions.create(file=speech, model="whisper-1").text == TEXT

# A stream that is left in the middle is computed no further.
for leave in ("close", "break"):
    stream = once.audio.transcriptions.create(file=speech, model="whisper-1", stream=True)
    first = next(iter(stream))
    assert first.type == "transcript.text.delta"
    assert running() == 1.0, leave
    if leave == "close":
        stream.close()
    else:
        del stream, first
        once.close()
    deadline_s = time.monotonic() + 5
    while running() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert running() == 0.0, leave
