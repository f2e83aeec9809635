"""Reads prompts from a file: text, CSV, TSV, JSON lines, JSON or Parquet.

All errors in a file are found before the run starts and reported with their line, so that a run
over a thousand prompts does not fail at the last. If the format is ambiguous, the error names the
option to use, because a misread prompt costs money.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agy_actors.cli.prompt_csv import DELIMITERS, has_columns, read_csv
from agy_actors.cli.prompt_json import parses_to, read_json, read_json_lines
from agy_actors.cli.prompt_parquet import MAGIC, read_parquet
from agy_actors.cli.prompts import PROMPT, Entry, Format, Reading
from agy_actors.cli.text_lines import read_lines
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self

__all__ = ["PromptFile"]

_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSON,
    ".parquet": Format.PARQUET,
}
# fmt: off
_OTHER_SUFFIXES = frozenset({
    ".arrow", ".bz2", ".db", ".doc", ".docx", ".gz", ".htm", ".html", ".ods", ".odt", ".pdf",
    ".rtf", ".sqlite", ".tar", ".toml", ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml",
    ".zip", ".zst",
})
# fmt: on
"""Suffixes of files whose lines are not prompts."""


class PromptFile:
    r"""A file of prompts that can be read more than once.

    The format follows from the file's suffix; without a known suffix it is JSON lines if the first
    line is a JSON object, otherwise text. Text has one prompt per line. Each line of JSON lines is
    a string or an object with a ``prompt`` and optionally an ``id`` (a string or an integer) and
    further fields. JSON is a list of such values. CSV and TSV have a header row with the columns
    ``prompt`` and optionally ``id`` and others; a quoted value may contain line ends. The delimiter
    of CSV is a comma, a semicolon, a tab or a bar. Parquet has the same columns as CSV. The other
    formats are UTF-8, with or without a byte order mark, with lines that end in ``\n`` or
    ``\r\n``; blank lines are skipped. With a template, the prompt is made from columns or fields.

    Args:
        source: the path of the file, or ``-`` for standard input.
        reading: the user's options for reading it.

    Raises:
        UsageProblem: the file cannot be read, or its format is ambiguous.
    """

    def __init__(self, source: str, reading: Reading | None = None) -> None:
        self.name = "standard input" if source == "-" else source
        self._reading = reading or Reading()
        self._file = _open(source, self.name)
        try:
            self._format = self._reading.format or _guess(
                source, self.name, self._file, self._reading
            )
            _check(self._reading, self._format, self.name)
        except BaseException:
            self._file.close()
            raise

    def __repr__(self) -> str:
        return f"<PromptFile {self.name}: {self._format}>"

    def read(self) -> Generator[Entry, None, None]:
        """Read the prompts, from the start.

        Raises:
            UsageProblem: a line is malformed, or the file contains no prompt.
        """
        self._file.seek(0)
        file, name, reading = self._file, self.name, self._reading
        match self._format:
            case Format.TEXT:
                entries = _from_text(file, name, reading)
            case Format.JSONL:
                entries = read_json_lines(file, name, reading)
            case Format.JSON:
                entries = read_json(file, name, reading)
            case Format.PARQUET:
                entries = read_parquet(file, name, reading)
            case _:
                entries = read_csv(file, name, DELIMITERS[self._format], reading)
        any_prompt = False
        try:
            with closing(entries):
                for entry in entries:
                    any_prompt = True
                    yield entry
        except OSError as error:
            raise _cannot_read(name, error) from error
        if not any_prompt:
            raise UsageProblem(f"{name} contains no prompt; write one on each line")

    def close(self) -> None:
        """Close the file; standard input stays open. Further calls do nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _open(source: str, name: str) -> BinaryIO:
    """Open a file, or a copy of a stream that can be read only once."""
    try:
        with ExitStack() as stack:
            file: BinaryIO
            if source != "-":
                file = stack.enter_context(Path(source).open("rb"))
                if file.seekable():
                    stack.pop_all()
                    return file
            elif sys.stdin is None:  # `None` if it was closed when the program started.
                raise UsageProblem("standard input is closed; give a file of prompts")
            else:
                file = sys.stdin.buffer
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            stack.pop_all()
            if source != "-":
                file.close()
            return copy
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
        raise _cannot_read(name, error) from error


def _cannot_read(name: str, error: Exception) -> UsageProblem:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UsageProblem(
        f"the prompts in {name} cannot be read: {why};"
        " give a text, CSV or JSONL file, or - for standard input"
    )


def _check(reading: Reading, format_: Format, name: str) -> None:
    if format_ is Format.TEXT and reading.column is not None:
        raise UsageProblem(
            f"--column {reading.column}: {name} is read as text, which has no columns;"
            " remove --column or use another --format"
        )
    if not reading.header and format_ not in {Format.CSV, Format.TSV}:
        raise UsageProblem(f"--no-header is for CSV and TSV, and {name} is read as {format_}")


def _guess(source: str, name: str, file: BinaryIO, reading: Reading) -> Format:
    suffix = "" if source == "-" else Path(source).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in _OTHER_SUFFIXES:
        raise UsageProblem(
            f"{name}: {suffix} files cannot be read; convert it to CSV or JSONL, or use"
            " --format text if each of its lines is a prompt"
        )
    start = file.read(len(MAGIC))
    file.seek(0)
    if start == MAGIC:
        return Format.PARQUET
    first = next((line for _, line in read_lines(file, name)), "")
    if parses_to(first, dict):
        return Format.JSONL
    if first[:1] in {"[", "{"} and _is_json_document(file):
        raise UsageProblem(
            f"{name} may be JSON or text; use --format json, or --format text for one prompt"
            " per line"
        )
    named = reading.column is not None or not reading.wanted <= {PROMPT}
    if has_columns(first, reading):
        if named:
            return Format.CSV
        raise UsageProblem(
            f"{name} begins like CSV, with a column {PROMPT!r}; use --format csv, or --format text"
            " for one prompt per line"
        )
    if named:
        option = "--template" if reading.column is None else f"--column {reading.column}"
        raise UsageProblem(f"{option}: {name} may be CSV, TSV or JSON; choose one with --format")
    return Format.TEXT


def _is_json_document(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        return isinstance(json.load(file), list | dict)
    except (ValueError, RecursionError):
        return False


def _from_text(file: BinaryIO, name: str, reading: Reading) -> Generator[Entry, None, None]:
    for number, line in read_lines(file, name):
        place = f"line {number}"
        if reading.template is None:
            yield Entry(place, None, line)
        else:
            values = {PROMPT: line}
            yield Entry(place, None, reading.template.fill(values, f"{name}, {place}"), values)
