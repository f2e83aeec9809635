"""Results as a Parquet file."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, BinaryIO

from agy_actors.cli.parquet import load_arrow
from agy_actors.cli.record_row import COLUMNS, EXTRA, KINDS, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agy_actors.cli.parquet import Arrow

__all__ = ["read_parquet_records", "write_parquet_records"]

_GROUP = 10_000
"""Rows of one row group, which is in memory while it is written. Arbitrary."""

_LARGEST_INTEGER = 2**63


def read_parquet_records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read the records of a Parquet file, which stays open.

    Raises:
        ValueError: it is not a file of results.
        UsageProblem: `pyarrow` is not installed.
    """
    arrow, parquet = load_arrow("the results")
    try:
        with parquet.ParquetFile(file) as source:
            names = source.schema_arrow.names
            is_table = tuple(names[: len(COLUMNS)]) == COLUMNS
            if not is_table or not all(name.startswith(EXTRA) for name in names[len(COLUMNS) :]):
                raise ValueError("its columns are not those of results")
            for batch in source.iter_batches(_GROUP, use_threads=False):
                yield from map(from_row, batch.to_pylist())
    except arrow.ArrowException as error:
        raise ValueError(str(error)) from error


def write_parquet_records(
    out: BinaryIO, read: Callable[[], Iterable[dict[str, Any]]], name: str
) -> None:
    """Write records as Parquet. A further field whose values have several types becomes JSON.

    Args:
        out: the file; it stays open.
        read: reads the records; called twice, because the types of all columns are written first.
        name: the name of the file, for errors.

    Raises:
        UsageProblem: `pyarrow` is not installed.
    """
    arrow = load_arrow(name)
    kinds: dict[str, set[type]] = {}
    for record in read():
        for field, value in record.get("extra", {}).items():
            kinds.setdefault(f"{EXTRA}{field}", set()).add(_kind(value))
    columns = {**KINDS, **{name: _common(found) for name, found in kinds.items()}}
    schema = arrow.arrow.schema([(name, _type(arrow, kind)) for name, kind in columns.items()])
    rows = map(to_row, read())
    with arrow.parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, _GROUP)):
            cells = {
                name: [_cell(row.get(name), kind) for row in group]
                for name, kind in columns.items()
            }
            writer.write_table(arrow.arrow.table(cells, schema))


def _kind(value: Any) -> type:
    """Return the type of a column that has this value; `object` if only JSON can have it."""
    if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        return object
    return type(value) if isinstance(value, bool | int | float | str | None) else object


def _common(kinds: set[type]) -> type:
    """Return the type of a column with values of these types; `str` if it is text or JSON."""
    found = kinds - {type(None)}
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 and found != {object} else str


def _type(arrow: Arrow, kind: type) -> Any:
    types = arrow.arrow
    return {bool: types.bool_(), int: types.int64(), float: types.float64()}.get(
        kind, types.string()
    )


def _cell(value: Any, kind: type) -> Any:
    if value is None or isinstance(value, str) or kind is not str:
        return value
    return json.dumps(value, ensure_ascii=False)
