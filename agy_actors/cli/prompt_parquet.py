"""Reads prompts from Parquet files."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, BinaryIO

from agy_actors.cli.parquet import load_arrow
from agy_actors.cli.prompts import ID, PROMPT, Entry, Reading
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

__all__ = ["MAGIC", "read_parquet"]

MAGIC = b"PAR1"
"""The first bytes of a Parquet file."""

_BATCH = 1024  # Rows that are read at once. Arbitrary.


def read_parquet(file: BinaryIO, name: str, reading: Reading) -> Generator[Entry, None, None]:
    """Read the prompts of a Parquet file.

    Values that JSON does not have become texts: times in ISO 8601, bytes in base64.

    Args:
        file: the file, open for reading; it stays open.
        name: the file's name, for errors.
        reading: what the user said about the file.

    Raises:
        UsageProblem: it is not a Parquet file, `pyarrow` is not installed, a prompt is missing, or
            the column with the prompts is unknown.
    """
    rows = _rows(file, name)
    names = next(rows)
    column = None if reading.template else _find(names, reading, name)
    id_column = next((other for other in names if other.casefold() == ID), None)
    taken = {column} if id_column == column else {column, id_column}
    for number, values in enumerate(rows, 1):
        place = f"row {number}"
        row = {label: _plain(value) for label, value in zip(names, values, strict=True)}
        if reading.template:
            prompt: Any = reading.template.fill(row, f"{name}, {place}")
        else:
            assert column is not None
            prompt = row[column]
        if not isinstance(prompt, str) or not prompt.strip():
            raise UsageProblem(
                f"{name}, {place}: the prompt is not a text or is empty; write one or remove the"
                " row"
            )
        given = None if id_column is None or id_column == column else row[id_column]
        id_ = None if given is None or given == "" else str(given)
        others = {label: value for label, value in row.items() if label not in taken}
        yield Entry(place, id_, prompt, others)


def _rows(file: BinaryIO, name: str) -> Iterator[Sequence[Any]]:
    """Read the names of the columns, and then the values of each row."""
    arrow, parquet = load_arrow(name)
    try:
        # Its own threads would be faster, but there is little to read.
        with parquet.ParquetFile(file) as source:
            yield source.schema_arrow.names
            for batch in source.iter_batches(_BATCH, use_threads=False):
                columns = [column.to_pylist() for column in batch.columns]
                yield from zip(*columns, strict=True)
    except (arrow.ArrowException, OSError) as error:
        raise UsageProblem(f"{name}: not a readable Parquet file: {error}") from error


def _find(names: Sequence[str], reading: Reading, name: str) -> str:
    """Return the column with the prompts."""
    wanted = reading.column or PROMPT
    same = [other for other in names if other == wanted]
    same = same or [other for other in names if other.casefold() == wanted.casefold()]
    if len(same) == 1:
        return same[0]
    if not same and wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    known = ", ".join(map(repr, names))
    what = f"more than one column {wanted!r}" if same else f"no column {wanted!r}"
    raise UsageProblem(
        f"{name} has {what}; its columns are {known}; give the name or number of the column with"
        " the prompts with --column"
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(other) for key, other in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(other) for other in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    # A time, or another type such as a decimal number.
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
