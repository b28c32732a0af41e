"""texts of one request → translations, in batches that the task takes; while its client waits."""

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from service.compat.detection import Ranking, detect
from service.compat.libretranslate.documents import Document
from service.compat.libretranslate.documents import translate as fill
from service.compat.libretranslate.glossary import Made, with_terms
from service.compat.libretranslate.said import Asked
from service.engine import Engine
from service.errors import refusal
from service.http_call import Call
from service.tasks.translation import MAX_TEXTS, Assets, Request, Response, pieces

TASK = "translation"
BEAM_SIZE = 4


async def assets_of(engine: Engine, model: str = "") -> Assets:
    """Of the model that is named, or of the default; raises a Problem."""
    found: Assets = (await engine.opened(engine.find(TASK, model))).assets
    return found


async def ranked(texts: Sequence[str], assets: Assets) -> list[Ranking]:
    """The languages of each text, the likeliest first."""
    known = assets.directions.languages
    return await asyncio.to_thread(lambda: [detect(text, known) for text in texts])


class Translator:
    """From one language; texts without words come back as they are, with no alternatives."""

    def __init__(
        self, engine: Engine, call: Call, assets: Assets, asked: Asked, source: str
    ) -> None:
        self._engine, self._call, self._assets = engine, call, assets
        self._asked, self._source = asked, source

    def _cut(self, text: str) -> list[str]:
        return pieces(text, self._source, self._assets)

    async def _batch(self, texts: Sequence[str]) -> list[Made]:
        asked = self._asked
        try:
            request = Request(
                model=asked.model, text=[*texts], source=self._source, target=asked.target,
                beam_size=max(BEAM_SIZE, asked.alternatives + 1), alternatives=asked.alternatives,
            )  # fmt: skip
        except ValidationError as error:
            raise refusal(error) from error
        answer = await self._call.work(self._engine.answer(TASK, request, **self._call.asked()))
        assert isinstance(answer, Response)
        return [Made(one.text, one.alternatives) for one in answer.translations]

    async def plain(self, texts: Sequence[str]) -> list[Made]:
        """As the model says it, whatever the terms."""
        made = [Made(text) for text in texts]
        if self._assets.directions.knows(self._source, self._asked.target):
            where = [at for at, text in enumerate(texts) if text.strip()]
            for first in range(0, len(where), MAX_TEXTS):
                batch = where[first : first + MAX_TEXTS]
                given = await self._batch([texts[at] for at in batch])
                for at, one in zip(batch, given, strict=True):
                    made[at] = one
        return made

    async def texts(self, texts: Sequence[str]) -> list[Made]:
        if not self._asked.terms:
            return await self.plain(texts)
        return await with_terms(
            [(text, self._asked.terms) for text in texts], self.plain, self._cut
        )

    async def document(self, document: Document) -> None:
        """Fill it with its translation, where the languages differ."""
        if self._assets.directions.knows(self._source, self._asked.target):
            await fill(document, self._asked.terms, self.plain, self._cut)
