"""Offline batch: every item is answered once, in order, whatever is killed and whatever is bad."""

import asyncio
import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from typer.testing import CliRunner

from service import setup
from service.batch import rows
from service.batch.__main__ import app
from service.batch.asking import Asking
from service.batch.output import Asked, Output
from service.batch.processes import MOST_DEATHS, ProcessWorker
from service.batch.records import MAX_LINE_BYTES, records
from service.batch.run import Done, Run
from service.batch.shards import shards
from service.batch.worker import Answer, Lost
from service.errors import InvalidInput, Problem, Unavailable
from service.tasks import task as task_of

ROOT = Path(__file__).parent.parent
CAT = ROOT / "service" / "examples" / "cat.jpg"
ENGLISH = ["--set", "source=en", "--set", "target=de", "--set", "beam_size=1"]
pytestmark = pytest.mark.usefixtures("own_logging")
ASKED = Asked(task="t", model="m:1", input="i", columns={}, fixed={}, shard_items=1)


@pytest.fixture(autouse=True)
def store_of_processes(own_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines in processes of their own look into the store of the test."""
    monkeypatch.setenv("BENTOML_HOME", BentoMLContainer.bentoml_home.get())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    parts = sorted(folder.glob("part-*.jsonl"))
    assert [part.stem for part in parts] == [f"part-{at:08}" for at in range(len(parts))]
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def batch(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


def columns(path: Path, content: str = "text") -> list[Any]:
    """What is read of each item, or what is wrong with it."""
    found: list[Any] = []
    for record in records(path, content):
        try:
            found.append(record.read())
        except Problem as problem:
            found.append(str(problem))
    return found


def test_lines_of_text_are_items_and_bad_ones_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    long = b"x" * (3 * MAX_LINE_BYTES)
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n\xff\n" + long + b"\ntwo")
    found = columns(path)
    assert found[:2] == [{"text": "one"}, {"text": ""}]
    assert found[2:4] == [
        "the line is not UTF-8",
        f"the line is longer than {MAX_LINE_BYTES} bytes",
    ]
    assert found[4:] == [{"text": "two"}]
    assert sum(record.size_bytes for record in records(path, "text")) == path.stat().st_size


def test_lines_of_json_and_cells_between_tabs_are_columns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n[1]\n{"a"\n' + "[" * 200 + "\n")
    (tmp_path / "b.tsv").write_text("id\ttext\n7\tb\n8\n")
    first, *bad, cells, short = columns(tmp_path)
    assert first == {"id": 1, "text": "a"}
    assert [fault.partition("the ")[2] for fault in bad[:2]] == [
        "line is not a JSON object",
        "line is not JSON",
    ]
    assert "nested" in bad[2]
    sizes = [record.size_bytes for record in records(tmp_path / "b.tsv", "text")]
    assert sum(sizes) == (tmp_path / "b.tsv").stat().st_size
    assert cells == {"id": "7", "text": "b"}
    assert short == "the line has 1 cells, not 2"


def test_a_folder_is_read_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png", ".hidden/c.png", ".d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    names = [record.file for record in records(tmp_path, "image")]
    assert names == ["a.png", "b/1.png", "b/2.png"]
    assert columns(tmp_path, "image")[1] == {"image": b"b/1.png"}


def test_shards_are_small_in_items_and_in_bytes(tmp_path: Path) -> None:
    for at, size in enumerate((9, 9, 1, 1, 1, 30)):
        with (tmp_path / f"{at}.wav").open("wb") as file:
            file.truncate(size << 20)
    found = [len(shard.records) for shard in shards(records(tmp_path, "audio"), 3)]
    assert found == [1, 3, 1, 1]


def test_no_engine_has_a_second_shard_before_all_have_one(tmp_path: Path) -> None:
    taken: list[int] = []

    class Slow:
        async def start(self, _: str) -> str:
            return "m:1"

        async def answers(self, asked: Sequence[Any]) -> list[Answer]:
            taken.append(id(self))
            await asyncio.sleep(0.05)
            return [Answer({}, None)] * len(asked)

        async def close(self) -> None: ...

    engines = [Slow(), Slow()]
    path = tmp_path / "in.txt"
    path.write_text("one\ntwo\n")
    asking = Asking(task_of("translation"), {}, {"source": "en", "target": "de"}, tmp_path)
    with closing(Output(tmp_path / "out", ".jsonl")) as output:
        output.begin(ASKED)
        run = Run(asking, "m:1", output, rows.lines, lambda _: None, engines)
        asyncio.run(run.all(records(path, "text"), 1))
    assert sorted(taken) == sorted(id(each) for each in engines)


def test_pictures_of_a_folder_are_classified_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    for at in range(5):
        shutil.copy(CAT, pictures / f"{at}.jpg")
    (pictures / "2.jpg").write_bytes(b"no picture")
    (pictures / "3.jpg").write_bytes(b"")
    out = tmp_path / "out"
    said = batch("image-classification", pictures, out, "--set", "top_k=1", "--shard-items", 2)
    assert "answered: 5, with errors: 2, before: 0" in said
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [f"{at}.jpg" for at in range(5)]
    assert [row["answer"] and row["answer"]["labels"][0]["label"] for row in rows] == [
        "cat", "cat", None, None, "cat",
    ]  # fmt: skip
    assert rows[2]["error"] == "image: not a PNG, JPEG or WebP picture"
    assert rows[3]["error"].startswith("image: ")
    assert "before: 5" in batch("image-classification", pictures, out, "--set", "top_k=1",
                               "--shard-items", 2)  # fmt: skip


def test_parquet_gives_parquet_of_one_schema_with_the_columns_beside(tmp_path: Path) -> None:
    image = CAT.read_bytes()
    table = pa.table(
        {
            "id": [3, 4, 5],
            "photo": [{"bytes": image, "path": "x"}, {"bytes": b"?", "path": None}, None],
            "k": [1, 2, 3],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    out = tmp_path / "out"
    batch("image-classification", tmp_path / "in.parquet", out, "--column", "image=photo",
          "--column", "top_k=k", "--shard-items", 1)  # fmt: skip
    parts = [pq.read_table(part) for part in sorted(out.glob("*.parquet"))]
    assert len(parts) == 3
    rows = pa.concat_tables(parts).to_pylist()
    assert rows[0]["input"] == {"id": 3, "photo": {"path": "x"}, "k": 1}
    assert [label["label"] for label in rows[0]["answer"]["labels"]] == ["cat"]
    assert rows[1]["answer"] is None
    assert rows[1]["error"].startswith("image: ")
    assert rows[2]["error"].startswith("image: ")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_graphs_are_items_and_what_a_struct_leaves_out_is_left_out(
    suffix: str, tmp_path: Path
) -> None:
    example = task_of("node-classification").example().model_dump(mode="json", exclude_unset=True)
    path, out = tmp_path / f"in{suffix}", tmp_path / "out"
    if suffix == ".jsonl":
        path.write_text(f"{json.dumps(example)}\n" * 2)
    else:
        node, edge = ("features", pa.list_(pa.string())), ("source", "target")
        graph = pa.struct(
            {
                "nodes": pa.list_(pa.struct([node])),
                "edges": pa.list_(pa.struct([(end, pa.int64()) for end in edge])),
            }
        )
        pq.write_table(pa.Table.from_pylist([example] * 2, pa.schema({"graph": graph})), path)
    assert "answered: 2, with errors: 0" in batch("node-classification", path, out)
    (part,) = out.glob("part-*")
    rows = rows_of(out) if suffix == ".jsonl" else pq.read_table(part).to_pylist()
    for row in rows:
        assert len(row["answer"]["nodes"]) == len(example["graph"]["nodes"])
        assert row["answer"]["nodes"][0]["label"]


def test_a_line_of_text_is_the_class_of_a_picture_to_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Sneaker\na ship in a bottle\n")
    batch("unconditional-image-generation", tmp_path / "in.txt", tmp_path / "out",
          "--set", "seed=7")  # fmt: skip
    drawn, refused = rows_of(tmp_path / "out")
    assert base64.b64decode(drawn["answer"]["pictures"][0]["image"]).startswith(b"\x89PNG")
    assert drawn["answer"]["seed"] == 7
    assert refused["error"].startswith("label: ")


def test_files_named_in_a_column_lie_below_the_input(tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path / "cat.jpg")
    lines = [{"image": "cat.jpg"}, {"image": "../../etc/passwd"}, {"image": "no.jpg"}, {"id": 1}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch("image-classification", tmp_path / "in.jsonl", tmp_path / "out")
    errors = [row["error"] for row in rows_of(tmp_path / "out")]
    assert errors == [
        None,
        "../../etc/passwd is not below the folder of the input",
        "no.jpg: No such file or directory",
        "image: there is no such column; there are id",
    ]


def test_what_is_asked_in_vain_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    path, out = tmp_path / "a.txt", tmp_path / "out"
    path.write_text("A house.\n")
    assert "no task poetry" in batch("poetry", path, out, code=1)
    assert "size: translation has no such field" in batch(
        "translation", path, out, "--set", "size=1", code=1
    )
    assert "lies in the input" in batch("translation", tmp_path, out, *ENGLISH, code=1)
    assert "there is no model 'x'" in batch("translation", path, out, "--model", "x", code=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert "holds other things" in batch("translation", path, tmp_path / "full", code=1)
    assert not list(out.glob("part-*"))


def test_a_run_goes_on_only_with_what_it_began_with(tmp_path: Path) -> None:
    path, out = tmp_path / "a.txt", tmp_path / "out"
    path.write_text("A house.\n")
    batch("translation", path, out, *ENGLISH)
    assert "fixed: " in batch("translation", path, out, *ENGLISH[:-2], code=1)
    path.write_text("Another house.\n")
    assert "input: " in batch("translation", path, out, *ENGLISH, code=1)


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    first = Output(tmp_path / "out", ".jsonl")
    with pytest.raises(InvalidInput, match="another run"):
        Output(tmp_path / "out", ".jsonl")
    first.close()
    Output(tmp_path / "out", ".jsonl").close()


def test_what_a_kill_left_unfinished_is_done_again(tmp_path: Path) -> None:
    output = Output(tmp_path / "out", ".jsonl")
    output.begin(ASKED)
    output.put(0, b"{}\n")
    output.close()
    (tmp_path / "out" / "part-00000001.jsonl.unfinished").write_bytes(b"{")
    output = Output(tmp_path / "out", ".jsonl")
    assert [output.done(number) for number in (0, 1)] == [True, False]
    assert sorted(path.name for path in (tmp_path / "out").glob("part*")) == ["part-00000000.jsonl"]
    output.close()


def test_sigkill_at_any_moment_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "a.txt", tmp_path / "out"
    lines = [f"There are {at} books on the table." for at in range(200)]
    path.write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-m", "service.batch", "translation", str(path), str(out)]
    command += [*ENGLISH, "--shard-items", "7"]
    own = {**os.environ, "BENTOML_HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1"}
    draw, kills = random.Random(7), 0
    deadline_s = time.monotonic() + 240
    while kills < 3:
        before = len(list(out.glob("part-*.jsonl")))
        process = subprocess.Popen(command, cwd=ROOT, env=own, stderr=subprocess.PIPE)
        while len(list(out.glob("part-*.jsonl"))) == before and process.poll() is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL, "it ended before it was killed"
        kills += 1
        process.stderr and process.stderr.close()
    done = {part: part.stat().st_mtime_ns for part in out.glob("part-*.jsonl")}
    assert len(done) >= kills
    subprocess.run(command, cwd=ROOT, env=own, check=True, capture_output=True, timeout=240)
    assert {part: part.stat().st_mtime_ns for part in done} == done, "what was done is left alone"
    rows = rows_of(out)
    assert [row["input"]["text"] for row in rows] == lines
    assert [row["row"] for row in rows] == list(range(len(lines)))
    assert all(row["answer"]["translations"][0]["text"] for row in rows)
    once = tmp_path / "once"
    batch("translation", path, once, *ENGLISH)
    assert rows == rows_of(once)


def engine_processes() -> list[psutil.Process]:
    """Of this process; the other children are what looks after them."""
    children = psutil.Process().children()
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


def test_an_engine_that_dies_is_started_again_and_no_item_is_lost(tmp_path: Path) -> None:
    task, folder = task_of("image-classification"), tmp_path / "in"
    setup.install_shipped(only=task.name)
    folder.mkdir()
    names = [f"{at:02}.jpg" for at in range(40)]
    for name in names:
        shutil.copy(CAT, folder / name)
    output = Output(tmp_path / "out", ".jsonl")

    async def run() -> None:
        workers = [ProcessWorker(task.name, 1) for _ in range(2)]
        tags = [await worker.start("") for worker in workers]
        victims = iter(engine_processes()[:1])

        def kill_one(_: Done) -> None:
            for victim in victims:
                victim.kill()

        of = Run(Asking(task, {}, {}, folder), tags[0], output, rows.lines, kill_one, workers)
        await of.all(records(folder, "image"), 4)
        for worker in workers:
            await worker.close()

    asyncio.run(run())
    assert not engine_processes()
    output.close()
    found = rows_of(tmp_path / "out")
    assert [row["file"] for row in found] == names
    assert all(row["answer"] for row in found)


def test_what_is_asked_while_an_engine_starts_again_waits_for_it() -> None:
    asked = [{"image": CAT.read_bytes()}]

    async def lose_and_ask() -> list[Answer]:
        worker = ProcessWorker("image-classification", 1)
        await worker.start("")
        for process in engine_processes():
            process.kill()
        with pytest.raises(Lost):
            await worker.answers(asked)
        starting = asyncio.create_task(worker.start(""))
        await asyncio.sleep(0.01)
        assert not starting.done()
        found = await worker.answers(asked)
        await starting
        await worker.close()
        return found

    setup.install_shipped(only="image-classification")
    (answer,) = asyncio.run(lose_and_ask())
    assert answer.error is None


def test_an_engine_that_dies_again_and_again_ends_the_run() -> None:
    async def die() -> None:
        worker = ProcessWorker("image-classification", 1)
        for _ in range(MOST_DEATHS):
            await worker.start("")
            (process,) = engine_processes()
            process.kill()
            with pytest.raises(Lost):
                await worker.answers([{"image": CAT.read_bytes()}])
        await worker.start("")

    setup.install_shipped(only="image-classification")
    with pytest.raises(Unavailable, match="died 3 times"):
        asyncio.run(die())
