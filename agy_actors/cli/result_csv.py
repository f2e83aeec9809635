"""Results as a CSV file."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO

from agy_actors.cli.prompt_csv import large_fields
from agy_actors.cli.record_row import COLUMNS, EXTRA, KINDS, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["read_csv_records", "write_csv_records"]


def read_csv_records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read the records of a CSV file, which stays open.

    Raises:
        ValueError: it is not a file of results.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        with large_fields():
            rows = csv.reader(text, strict=True)
            names = next(rows, [])
            is_table = tuple(names[: len(COLUMNS)]) == COLUMNS
            if not is_table or not all(name.startswith(EXTRA) for name in names[len(COLUMNS) :]):
                raise ValueError("its columns are not those of results")
            for row in rows:
                yield from_row(
                    {name: _value(name, cell) for name, cell in zip(names, row, strict=True)}
                )
    except csv.Error as error:
        raise ValueError(str(error)) from error
    finally:
        text.detach()  # Otherwise closing the wrapper would close the file.


def write_csv_records(
    out: BinaryIO, read: Callable[[], Iterable[dict[str, Any]]], _name: str
) -> None:
    """Write records as CSV.

    Args:
        out: the file; it stays open.
        read: reads the records; called twice, because the first row names all columns.
    """
    extra = {name: None for record in read() for name in record.get("extra", {})}
    names = [*COLUMNS, *(f"{EXTRA}{name}" for name in extra)]
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    try:
        rows = csv.writer(text)
        rows.writerow(_cell(name) for name in names)
        for record in read():
            row = to_row(record)
            rows.writerow(_cell(row.get(name)) for name in names)
    finally:
        text.detach()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(name: str, cell: str) -> Any:
    """Return the value of a cell; the empty cell has none, except of text that is required."""
    kind = KINDS.get(name, str)
    if not cell and name not in ("id", "prompt", "agent"):
        return None
    return kind(cell) if kind in (int, float) else cell == "true" if kind is bool else cell
