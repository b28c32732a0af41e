"""The whole service under load on both doors: a canary by command, and back by another."""

import asyncio
import re
from pathlib import Path

from test_service_life import OWN, Service, run, running
from typer.testing import CliRunner
from versions import another_version

from service import store
from service.__main__ import app

ANSWERED = re.compile(
    r'attendant_requests_total\{code="ok",door="(\w+)",model="(translation[^"]*)".*\} ([1-9]\S*)'
)


def say(*command: str) -> str:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return done.output


async def only(service: Service, models: set[str]) -> None:
    """Wait until nothing else answers."""

    async def seen() -> set[str]:
        service.models.clear()
        await asyncio.sleep(0.5)
        return set(service.models)

    while await seen() != models:
        pass


def test_a_canary_and_a_rollback_by_command_fail_no_request_on_either_door(
    tiny_translation: Path, tmp_path: Path
) -> None:
    stable = store.install(tiny_translation)
    candidate = store.install(another_version(tiny_translation, tmp_path / "second"))
    assert store.tags("translation") == [candidate, stable]

    async def scenario() -> None:
        say("rollback", "translation")
        async with running(*OWN) as service:
            asks = [service.post, service.call] * 2
            clients = [asyncio.create_task(service.keep_asking(ask)) for ask in asks]
            await only(service, {stable})
            say("canary", candidate, "--weight", "0.5")
            await only(service, {stable, candidate})
            say("rollback", "translation")
            await only(service, {stable})
            say("canary", candidate, "--shadow", "1")
            await asyncio.sleep(2)
            assert service.models == {stable}
            text = (await service.client.get("/metrics")).text
            answered = {(door, model) for door, model, _ in ANSWERED.findall(text)}
            # The candidate is counted beside the version that the name means.
            assert answered == {
                (door, model) for door in ("http", "grpc") for model in ("translation", candidate)
            }
            shadows = (
                rf'attendant_shadows_total\{{model="{candidate}",outcome="(ok|dropped)".* [1-9]'
            )
            assert re.search(shadows, text)
            assert set(service.outcomes) == {"200"}
            say("promote", "translation")
            await only(service, {candidate})
            assert set(service.outcomes) == {"200"}
            service.process.terminate()
            await asyncio.gather(*clients)
            assert await service.process.wait() == 0

    run(scenario)
