"""a name and a version → the model that is meant, and what is told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from service.compat.oip.raw import SUFFIX, RawModel, reachable
from service.compat.oip.tensors import Spec
from service.compat.oip.whole import WholeModel
from service.engine import Engine
from service.errors import NotFound, Problem
from service.served import Served
from service.tasks import Task


class Model(Protocol):
    """What can be asked by its name."""

    name: str
    task: str
    platform: str
    inputs: Sequence[Spec]
    outputs: Sequence[Spec]
    max_batch: int
    labels: Sequence[str]
    """Of the classes that it tells apart, if it does."""

    async def infer(
        self,
        engine: Engine,
        tag: str,
        inputs: Mapping[str, NDArray[Any]],
        parameters: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> tuple[dict[str, NDArray[Any]], str]:
        """Outputs by name, and the name and version of the model that gave them.

        `tag` is the model as the request names it.
        """


class Found(NamedTuple):
    """A model, and what to ask the engine for."""

    model: Model
    tag: str


class Models:
    """Every model as a whole, and the graph of each that is one.

    The name of a task means its default, where no model has that name.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._registry = engine.models.registry
        self._whole = {task.name: WholeModel(task) for task in engine.tasks.values()}
        self._raw: WeakKeyDictionary[Served, RawModel] = WeakKeyDictionary()

    def _own(self, name: str) -> str:
        """The name of a model: of a task's default, where a task is named."""
        return name if self._registry.current(name) else self._registry.default(name)

    def _kind(self, name: str) -> Task:
        """The task of a model or of a task's name, as this kind of model does it."""
        served = self._registry.current(self._own(name))
        return served.task if served else self.engine.tasks[name]

    def names(self) -> list[str]:
        whole = {*self._registry.names(), *self.engine.tasks}
        return sorted([*whole, *(name + SUFFIX for name in whole if reachable(self._kind(name)))])

    def _known(self, name: str) -> bool:
        return name in self.engine.tasks or self._registry.current(name) is not None

    def _base(self, name: str) -> str:
        """The name without what asks for the graph; raises NotFound."""
        if self._known(name):
            return name
        base = name.removesuffix(SUFFIX)
        if self._known(base) and reachable(self._kind(base)):
            return base
        raise NotFound(f"there is no model {name[:64]!r}; there are {', '.join(self.names())}")

    def task(self, name: str) -> Task:
        """The task behind a model; raises NotFound."""
        return self._kind(self._base(name))

    def tag(self, name: str, version: str = "") -> str:
        """The model as the engine is asked for it; raises NotFound."""
        own = self._own(self._base(name))
        return f"{own}:{version}" if version else own

    def served(self, name: str, version: str = "") -> Served:
        """Raises NotFound where there is no such model or version, Unavailable where not yet."""
        base = self._base(name)
        own = self._own(base)
        current = self._registry.current(own)
        if current is None:
            return self.engine.find(self._kind(base).name)  # which says that there is none
        return self.engine.find(current.task.name, f"{own}:{version}" if version else own)

    def version(self, name: str) -> str | None:
        """The version that is served now, if any is."""
        served = self._registry.current(self.tag(name))
        return served.version if served and not served.fault else None

    def ready(self, name: str, version: str = "") -> bool:
        """It can be asked, and is loaded first if it has to be."""
        try:
            served = self.served(name, version)
        except Problem:
            return False
        return not served.fault and not self.engine.draining

    async def find(self, name: str, version: str = "") -> Found:
        """A model to ask, loaded where its tensors are not known without; raises a Problem."""
        served, tag = self.served(name, version), self.tag(name, version)
        served.refuse()
        if self._base(name) == name:
            return Found(self._whole[served.task.name], tag)
        known = self._raw.get(served)
        if known is None:
            known = self._raw[served] = RawModel(name, await self.engine.opened(served))
        return Found(known, tag)
