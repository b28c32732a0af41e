"""store, settings → the models that may be asked for, by name and version."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import bentoml

from service import manifest as manifests
from service import store
from service.errors import InvalidInput, NotFound, Unavailable
from service.kinds import task_of
from service.manifest import Manifest
from service.rollout.canary import Canary
from service.served import Served
from service.settings import EVERY, Settings
from service.tasks import Task

REMEDY = "no such model in the store; run make models"


def manifest_of(folder: Path) -> Manifest | None:
    try:
        return manifests.read(folder)
    except (OSError, ValueError):  # loading it says what is wrong
        return None


class Registry:
    """Names → versions. A name alone means its newest, as long as that can be served."""

    def __init__(self, tasks: Mapping[str, Task], settings: Settings) -> None:
        self._tasks, self._settings = tasks, settings
        self._versions: dict[str, dict[str, Served]] = {}
        self._current: dict[str, Served] = {}
        self.canaries: dict[str, Canary] = {}
        """Name → the version that is tried beside the one that it means."""
        self.stale: dict[str, str] = {}
        """Name → why its newest version is not the one that it means."""

    def scan(self) -> dict[str, list[Served]]:
        """What the store holds of the models to serve, by name, each newest first. Reads files."""
        found: dict[str, list[Served]] = {}
        listed = self._settings.models or tuple(self._tasks)
        for entry in store.names() if listed == (EVERY,) else listed:
            name, _, version = entry.partition(":")
            tags = store.tags(name)
            for tag in tags if not version else [tag for tag in tags if tag == entry]:
                if model := self._read(tag):
                    found.setdefault(name, []).append(model)
        return found

    def _read(self, tag: str) -> Served | None:
        """A version as the store has it; None where it is of no task that we know."""
        name, _, version = tag.partition(":")
        folder = Path(bentoml.models.get(tag).path)
        manifest = manifest_of(folder)
        task = self._tasks.get(manifest.answers if manifest else name)
        if task is None:
            return None
        kind = task_of(task, manifest.graphs) if manifest else task
        size_bytes = store.memory_bytes(folder)
        return Served(kind, name, version, folder, manifest, size_bytes)

    def put(self, model: Served) -> None:
        """It may be asked for from now on, and its name means it if it meant nothing."""
        self._versions.setdefault(model.name, {}).setdefault(model.version, model)
        self._current.setdefault(model.name, model)

    def make_current(self, model: Served) -> None:
        """Its name means this version from now on."""
        self._versions.setdefault(model.name, {})[model.version] = model
        self._current[model.name] = model
        self.stale.pop(model.name, None)

    def keep(self, name: str, versions: Sequence[str]) -> None:
        """Forget versions that the store has no more, but for those that are in memory."""
        known, current = self._versions.get(name, {}), self._current.get(name)
        for version, model in list(known.items()):
            if version not in versions and model is not current and model.loaded is None:
                del known[version]

    def known(self, tag: str) -> Served | None:
        name, _, version = tag.partition(":")
        return self._versions.get(name, {}).get(version)

    def current(self, name: str) -> Served | None:
        return self._current.get(name)

    def names(self, task: str | None = None) -> list[str]:
        """Of all models, or those of a task."""
        return sorted(n for n, m in self._current.items() if task in (None, m.task.name))

    def versions(self, name: str) -> list[Served]:
        """The one that the name means first."""
        current = self._current[name]
        others = (one for one in self._versions[name].values() if one is not current)
        return [current, *others]

    def default(self, task: str) -> str:
        """The name that a task's requests mean if they name none."""
        names = self.names(task)
        own = task if task in names or not names else names[0]
        return self._settings.default_models.get(task, own)

    def find(self, task: str, asked: str = "") -> Served:
        """The model of a request. Raises NotFound, InvalidInput, or Unavailable without a default.

        `asked` is a name, a name and a version as `name:version`, or nothing.
        """
        if asked:
            model = self.named(asked, task)
            if model.task.name != task:
                raise InvalidInput(f"{model.name} is for {model.task.name}, not {task}", "model")
            canary, of_version = self.canaries.get(model.name), ":" in asked
            if canary is None:
                return model
            meant = model.version == canary.served.version if of_version else canary.answers()
            return canary.served if meant else model
        default = self.default(task)
        if default not in self._current:
            raise Unavailable(f"{default}: {REMEDY}")
        return self.find(task, default)

    def named(self, asked: str, task: str | None = None) -> Served:
        """A model by name or name:version; NotFound says which there are, for `task` if set."""
        name, _, version = asked.partition(":")
        versions = self._versions.get(name)
        if not versions:
            there = ", ".join(self.names(task)) or "none"
            raise NotFound(f"there is no model {name[:64]!r}; there are {there}", "model")
        model = versions.get(version) if version else self._current[name]
        if model is None:
            there = ", ".join(versions)
            raise NotFound(f"{name} has no version {version[:64]!r}; there are {there}", "model")
        return model
