"""Reads prompts from CSV and TSV files."""

from __future__ import annotations

import csv
import io
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from agy_actors.cli.prompts import ID, PROMPT, Entry, Format, Reading
from agy_actors.cli.text_lines import decode_line
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

__all__ = ["DELIMITERS", "has_columns", "large_fields", "read_csv"]

DELIMITERS = {Format.CSV: ",;\t|", Format.TSV: "\t"}
"""Possible delimiters. Spreadsheets use a semicolon where the decimal separator is a comma."""

_LARGEST_FIELD = 2**31 - 1  # The largest C long on every system; the default limit is 128 KiB.


@contextmanager
def large_fields() -> Iterator[None]:
    """Allow values of any length in CSV during the block. The limit is one of the whole process."""
    before = csv.field_size_limit(_LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def has_columns(line: str, reading: Reading) -> bool:
    """Whether a line is a CSV header with the columns of the prompts, for any delimiter."""
    wanted = _folded(reading.wanted)
    for delimiter in DELIMITERS[Format.CSV]:
        with suppress(csv.Error):
            names = next(csv.reader([line], delimiter=delimiter, strict=True), [])
            if wanted <= _folded(names):
                return True
    return False


def _folded(names: Iterable[str]) -> set[str]:
    return {name.strip().casefold() for name in names}


def read_csv(
    file: BinaryIO, name: str, delimiters: str, reading: Reading
) -> Generator[Entry, None, None]:
    """Read the prompts of a CSV or TSV file.

    Args:
        file: the file, open for reading; it stays open.
        name: the file's name, for errors.
        delimiters: the characters that may separate the values; the first row decides which.
        reading: what the user said about the file.

    Raises:
        UsageProblem: a row is malformed, or the column with the prompts is unknown.
    """
    with large_fields():
        delimiter, names = _columns(file, name, delimiters, reading)
        labels = _labels(names)
        at = None if reading.template else _find(names, reading, name)
        id_at = next((n for n, other in enumerate(names) if other.casefold() == ID), None)
        if id_at == at or not reading.header:
            id_at = None
        with closing(_rows(file, name, delimiter)) as rows:
            if reading.header:
                next(rows)
            for place, row in rows:
                while len(row) > len(names) and not row[-1].strip():
                    row.pop()
                if len(row) != len(names):
                    raise UsageProblem(
                        f"{name}, {place}: the number of values is {len(row)}, but the header has"
                        f" {len(names)} columns; put values with a delimiter or a line end in"
                        " double quotes"
                    )
                if reading.template:
                    values = dict(zip(labels, row, strict=True))
                    prompt = reading.template.fill(values, f"{name}, {place}")
                else:
                    assert at is not None
                    prompt = row[at]
                if not prompt.strip():
                    raise UsageProblem(
                        f"{name}, {place}: the prompt is empty; write one or remove the row"
                    )
                id_ = None if id_at is None else row[id_at].strip() or None
                others = {labels[n]: cell for n, cell in enumerate(row) if n not in (at, id_at)}
                yield Entry(place, id_, prompt, others)


def _columns(
    file: BinaryIO, name: str, delimiters: str, reading: Reading
) -> tuple[str, Sequence[str]]:
    """Return the delimiter and the column names, found from the first row."""
    wanted = _folded(reading.wanted)
    found: list[tuple[bool, int, str, list[str]]] = []
    problem: UsageProblem | None = None
    for delimiter in delimiters:
        try:
            with closing(_rows(file, name, delimiter)) as rows:
                _, row = next(rows)
        except StopIteration:
            raise UsageProblem(
                f"{name} contains no prompt; write a header row and one row for each prompt"
            ) from None
        except UsageProblem as error:
            problem = problem or error
            continue
        names = [cell.strip() for cell in row] if reading.header else [""] * len(row)
        while len(names) > 1 and not names[-1] and reading.header:
            names.pop()  # Spreadsheets add empty cells at the end of rows.
        fits = wanted <= _folded(names)
        found.append((fits, len(names), delimiter, names))
    if not found:
        assert problem is not None
        raise problem
    _, _, delimiter, names = max(found, key=lambda one: one[:2])
    return delimiter, names


def _find(names: Sequence[str], reading: Reading, name: str) -> int:
    """Return the index of the column with the prompts."""
    wanted = reading.column or PROMPT
    same = [n for n, other in enumerate(names) if other == wanted]
    same = same or [n for n, other in enumerate(names) if other.casefold() == wanted.casefold()]
    if reading.header and len(same) == 1:
        return same[0]
    if not same and reading.column is not None and reading.column.isdecimal():
        number = int(reading.column)
        if 1 <= number <= len(names):
            return number - 1
    if not reading.header:
        if len(names) == 1 and reading.column is None:
            return 0
        raise UsageProblem(
            f"{name} has {len(names)} columns; give the number of the column with the prompts:"
            f" --column 1 to --column {len(names)}"
        )
    known = ", ".join(repr(other) for other in names)
    what = f"more than one column {wanted!r}" if same else f"no column {wanted!r}"
    raise UsageProblem(
        f"{name} has {what}; its columns are {known}; give the name or number of the column with"
        " the prompts with --column, or use --no-header if the first row contains values"
    )


def _rows(
    file: BinaryIO, name: str, delimiter: str
) -> Generator[tuple[str, list[str]], None, None]:
    """Read the rows that are not blank, each with its place."""
    file.seek(0)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        while True:
            number = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UsageProblem(
                    f"{name}, line {number}: not CSV ({error}); write a quote within a quoted value"
                    ' twice, as in "say ""hello"""'
                ) from error
            if any("\0" in cell for cell in row):
                decode_line(b"\0", name, number)
            if any(cell.strip() for cell in row):
                yield f"line {number}", row
    except UnicodeDecodeError:
        file.seek(0)
        for number, data in enumerate(file, 1):
            decode_line(data, name, number)
        raise
    finally:
        text.detach()  # Otherwise closing the wrapper would close the file.


def _labels(names: Sequence[str]) -> list[str]:
    """Return a unique name for each column; ``column N`` if it has none of its own."""
    labels: list[str] = []
    for number, name in enumerate(names, 1):
        labels.append(name if name and name not in labels else f"column {number}")
    return labels
