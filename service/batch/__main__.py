"""`python -m service.batch TASK INPUT OUTPUT`: the answer to every item of a file or a folder."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

# BentoML reads these when it is imported: no usage reports, no spans that nobody collects.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

from service import logs
from service.batch import processes, rows
from service.batch.asking import Asking, content_field
from service.batch.output import Asked, Output
from service.batch.progress import Bar
from service.batch.records import digest, files, records
from service.batch.run import Run
from service.batch.shards import ITEMS, RECORDINGS, usual_items
from service.batch.worker import Worker
from service.errors import InvalidInput, Problem
from service.settings import Settings
from service.setup import install_shipped
from service.tasks import Task, task_names
from service.tasks import task as task_of

app = typer.Typer(add_completion=False)


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs = [part.partition("=") for part in given or []]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise InvalidInput(f"{name!r}: write it as FIELD=...")
    return {name: value for name, _, value in pairs}


def _workers(task: Task, cluster: str, engines: int | None) -> list[Worker]:
    if not cluster:
        return processes.workers(task, engines)
    from service.batch.cluster import ClusterWorker, connect

    connect(cluster)
    return [ClusterWorker(task.name, Settings().threads) for _ in range(engines or 1)]


async def _run(
    asking: Asking,
    path: Path,
    folder: Path,
    model: str,
    shard_items: int,
    made: Callable[[], list[Worker]],
) -> Bar:
    if folder.resolve().is_relative_to(path.resolve()):
        raise InvalidInput(f"{folder} lies in the input; choose another folder")
    found, size_bytes = digest(path)
    whole = {file.suffix for file in files(path)} == {".parquet"}
    written = rows.lines
    if whole:
        written = partial(rows.parquet, schema=rows.schema(asking.task, list(files(path))))
    with closing(Output(folder, ".parquet" if whole else ".jsonl")) as output:
        workers = made()
        try:
            begun = output.asked.model if output.asked else ""
            tag, *_ = await asyncio.gather(*(one.start(model or begun) for one in workers))
            asked = Asked(
                task=asking.task.name,
                model=tag,
                input=found,
                columns=dict(asking.columns),
                fixed=dict(asking.fixed),
                shard_items=shard_items,
            )
            output.begin(asked)
            with Bar(asking.task.name, size_bytes) as bar:
                run = Run(asking, tag, output, written, bar.report, workers)
                await run.all(records(path, content_field(asking.task)), shard_items)
            return bar
        finally:
            for worker in workers:
                await worker.close()


@app.command()
def main(
    task: Annotated[str, typer.Argument(help="translation, image-classification, ...")],
    path: Annotated[Path, typer.Argument(metavar="INPUT", exists=True, readable=True)],
    folder: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of the results.")],
    fixed: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE, the same for all items.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN; the content has its own name.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name or name:version; else the task's.")] = "",
    shard_items: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"At most so many in a file; {ITEMS}, of speech {RECORDINGS}.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[str, typer.Option(help="Address of a Ray cluster, auto or local.")] = "",
    engines: Annotated[
        int | None, typer.Option(min=1, help="One a core; on a cluster one.", show_default=False)
    ] = None,
) -> None:
    """Answer every item of INPUT into OUTPUT; the same command again goes on where it ended.

    INPUT is a .txt, .jsonl, .tsv or .parquet file, a picture or a recording, or a folder of them.
    """
    logs.configure("text", "error")
    try:
        if task not in [name.replace("_", "-") for name in task_names()]:
            raise InvalidInput(f"there is no task {task}")
        base = path if path.is_dir() else path.parent
        asking = Asking(task_of(task), _pairs(column), _pairs(fixed), base)
        if not cluster:
            install_shipped(only=task)
        workers = partial(_workers, asking.task, cluster, engines)
        items = shard_items or usual_items(task)
        bar = asyncio.run(_run(asking, path, folder, model, items, workers))
    except ModuleNotFoundError as error:
        typer.echo(f"{error}: pip install -r requirements/batch.txt", err=True)
        raise typer.Exit(1) from error
    except (Problem, OSError, ValueError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo("stopped; the same command goes on where it ended", err=True)
        raise typer.Exit(130) from error
    typer.echo(f"answered: {bar.items:,}, with errors: {bar.errors:,}, before: {bar.before:,}")


if __name__ == "__main__":
    app()
