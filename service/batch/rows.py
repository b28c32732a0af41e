"""an item, its answer → a row; the rows of a shard → the bytes of its file, JSON lines or Parquet.

Parquet needs a schema that is the same in every file, whatever the answers in it are: it is made of
the task's own model and of the input's columns.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

from service.batch.records import Columns
from service.errors import InvalidInput
from service.tasks import Task

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]
"""`file` and `row` say which item it is, `input` has its columns, `answer` or `error` is null."""
WITHOUT = ("model", "timings_ms")


def lines(rows: Sequence[Row]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _type(annotation: Any) -> "pyarrow.DataType":
    import pyarrow as pa

    plain = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    plain[bytes] = pa.string()  # base64, as JSON has them
    if annotation in plain:
        return plain[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(_fields(annotation))
    arguments = [one for one in get_args(annotation) if one is not NoneType]
    found = _type(arguments[0])
    return pa.list_(found) if get_origin(annotation) is list else found


def _fields(model: type[BaseModel], without: Iterable[str] = ()) -> list["pyarrow.Field"]:
    import pyarrow as pa

    fields = model.model_fields.items()
    return [pa.field(name, _type(one.annotation)) for name, one in fields if name not in without]


def _shown(fields: Iterable["pyarrow.Field"]) -> list["pyarrow.Field"]:
    """Columns without those that hold bytes."""
    import pyarrow as pa

    found = []
    for field in fields:
        if pa.types.is_struct(field.type):
            field = pa.field(field.name, pa.struct(_shown(field.type)))  # noqa: PLW2901
        if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)):
            found.append(field)
    return found


def schema(task: Task, files: Sequence[Path]) -> "pyarrow.Schema":
    """Of the results; raises InvalidInput where the files have not all the same columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = pq.read_schema(files[0]).remove_metadata()
    for file in files[1:]:
        if not pq.read_schema(file).remove_metadata().equals(columns):
            raise InvalidInput(f"{file.name} has other columns than {files[0].name}")
    return pa.schema(
        [
            pa.field("file", pa.string()),
            pa.field("row", pa.int64()),
            pa.field("input", pa.struct(_shown(columns))),
            pa.field("answer", pa.struct(_fields(task.response, WITHOUT))),
            pa.field("error", pa.string()),
        ]
    )


def parquet(rows: Sequence[Row], schema: "pyarrow.Schema") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    return file.getvalue()


def shown(given: Columns) -> Columns:
    """The columns that stand beside the answer: all but bytes."""
    return {
        name: shown(value) if isinstance(value, dict) else value
        for name, value in given.items()
        if not isinstance(value, bytes)
    }
