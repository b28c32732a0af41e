"""model folder → a loaded model that has answered its task's example; opened beside the loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from service import store
from service.deadline import within
from service.loaded import Loaded, cores, made
from service.settings import Settings
from service.tasks import Task
from service.telemetry import Labels
from service.threads import behind_the_doors


async def opened(task: Task, labels: Labels, folder: Path, settings: Settings) -> Loaded:
    """Raises BrokenModel where the folder does not open, or its example is not answered."""
    try:
        task = await asyncio.to_thread(store.kind_of, folder, task)
        threads = cores(task, settings)
        # What runs the graphs inherits the priority of the thread that opens them.
        with ThreadPoolExecutor(1, initializer=behind_the_doors) as opening:
            open_model = partial(store.open_model, folder, task, threads=threads)
            model, _ = await asyncio.get_running_loop().run_in_executor(opening, open_model)
        assets = await asyncio.to_thread(task.load_assets, folder)
    except store.BrokenModel:
        raise
    except Exception as error:  # assets of any kind, read by any library
        raise store.BrokenModel(f"{task.name}: {folder}: {error!r}") from error
    loaded = made(task, labels, model.name, model, assets, settings, model.stop)
    try:
        example = task.example()
        request = task.adapt(example, assets) if task.adapt else example
        await within(settings.timeout_s, partial(loaded.answer, request), model.name)
    except Exception as error:
        await loaded.close()
        fault = f"{model.name}: its example is not answered: {error}"
        raise store.BrokenModel(fault) from error
    return loaded
