"""shards that are done → a bar on the terminal: how much of the input, how fast, how long still."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from service.batch.run import Done


class Bar:
    """Counts what is done; drawn where there is a terminal."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.items = self.errors = self.before = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar = self._progress.add_task(name, total=size_bytes, said="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def report(self, done: Done) -> None:
        if done.before:
            self.before += done.items
        else:
            self.items += done.items
            self.errors += done.errors
        elapsed_s = self._progress.tasks[self._bar].elapsed or 0
        rate = self.items / elapsed_s if elapsed_s else 0.0
        said = f"{self.items + self.before:,} items, {rate:,.0f}/s, {self.errors:,} errors"
        self._progress.update(self._bar, advance=done.size_bytes, said=said)
