"""`ray_load.py HOST SECONDS RATE`: open load on both doors → a JSON line for each answer."""

import asyncio
import json
import sys
import time

import aiohttp
import grpc

from service.pb import attendant_pb2, attendant_pb2_grpc

TEXT, EXPECTED = "I like to read books. ", "Ich lese gerne Bücher. "
SENTENCES = 200
"""Of a text: enough that some are always being worked on."""
ASKED = {"text": (TEXT * SENTENCES).strip(), "source": "en", "target": "de"}
WANTED = (EXPECTED * SENTENCES).strip()


async def by_http(host: str, session: aiohttp.ClientSession) -> tuple[bool, bool, str]:
    """Answered rightly, to be tried again, in words."""
    async with session.post(f"http://{host}:8000/translation", json=ASKED) as response:
        said = await response.text()
        again = response.status in (429, 503) and "Retry-After" in response.headers
        return response.status == 200 and WANTED in said, again, f"{response.status} {said[:300]}"


async def by_grpc(stub: attendant_pb2_grpc.AttendantStub) -> tuple[bool, bool, str]:
    request = attendant_pb2.TranslateRequest(**{**ASKED, "text": [ASKED["text"]]})
    try:
        reply = await stub.Translate(request)  # type: ignore[misc]
    except grpc.aio.AioRpcError as error:
        again = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        return False, again, f"{error.code()} {(error.details() or '')[:300]}"
    return reply.translations[0].text == WANTED, False, ""


async def main(host: str, seconds: float, rate: float) -> None:
    channel = grpc.aio.insecure_channel(f"{host}:9000")
    stub = attendant_pb2_grpc.AttendantStub(channel)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(number: int) -> None:
            began_s = time.time()
            try:
                work = by_grpc(stub) if number % 2 else by_http(host, session)
                right, again, said = await work
            except (aiohttp.ClientError, TimeoutError) as error:
                right, again, said = False, False, repr(error)
            answer = {"sent_s": began_s, "came_s": time.time(), "right": right, "again": again}
            door = "gRPC" if number % 2 else "HTTP"
            print(json.dumps({**answer, "door": door, "said": "" if right else said}), flush=True)

        begin_s, asking = time.monotonic(), []
        for number in range(round(seconds * rate)):
            await asyncio.sleep(begin_s + number / rate - time.monotonic())
            asking.append(asyncio.create_task(ask(number)))
        await asyncio.gather(*asking)
    await channel.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
