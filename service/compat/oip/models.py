"""a name and a version → the model that is meant, and what is told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from service.compat.oip.raw import SUFFIX, RawModel, reachable
from service.compat.oip.tensors import Spec
from service.compat.oip.whole import WholeModel
from service.engine import Engine
from service.errors import NotFound, Unavailable
from service.loaded import Loaded
from service.tasks import Task


class Model(Protocol):
    """What can be asked by its name."""

    name: str
    task: str
    platform: str
    inputs: Sequence[Spec]
    outputs: Sequence[Spec]
    max_batch: int

    async def infer(
        self,
        engine: Engine,
        inputs: Mapping[str, NDArray[Any]],
        parameters: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> tuple[dict[str, NDArray[Any]], str]:
        """Outputs by name, and the name and version of the model that gave them."""


class Models:
    """Every task as a whole, and the graph of each that is one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._whole = {task.name: WholeModel(task) for task in engine.tasks.values()}
        self._raw: dict[str, tuple[Loaded, RawModel]] = {}
        raws = [task for task in engine.tasks.values() if reachable(task)]
        self._tasks: Mapping[str, Task] = {
            **engine.tasks, **{task.name + SUFFIX: task for task in raws}
        }  # fmt: skip

    def names(self) -> list[str]:
        return sorted(self._tasks)

    def task(self, name: str) -> Task:
        """The task behind a model; raises NotFound."""
        found = self._tasks.get(name)
        if found is None:
            raise NotFound(f"there is no model {name[:64]!r}; there are {', '.join(self.names())}")
        return found

    def version(self, name: str) -> str | None:
        """The version that is served now, if any is."""
        loaded = self.engine.loaded.get(self.task(name).name)
        return loaded.name.rpartition(":")[2] if loaded else None

    def ready(self, name: str, version: str = "") -> bool:
        served = self.version(name)
        return served is not None and version in ("", served) and not self.engine.draining

    def find(self, name: str, version: str = "") -> Model:
        """Raises NotFound where there is no such model or version, Unavailable where not yet."""
        task = self.task(name)
        served = self.version(name)
        if served is None:
            raise Unavailable(self.engine.status()[task.name])
        if version and version != served:
            raise NotFound(f"{name} is served in version {served} only")
        if name == task.name:
            return self._whole[name]
        loaded = self.engine.loaded[task.name]
        if not reachable(loaded.task):
            raise NotFound(f"{loaded.name} is not one graph of pixels or features")
        known = self._raw.get(name)
        if known is None or known[0] is not loaded:
            known = self._raw[name] = (loaded, RawModel(task, loaded))
        return known[1]
