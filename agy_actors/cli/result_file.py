"""Writes the results of a run as JSON lines, and reads them when the run is resumed.

`records` documents the format of a record, `ledger` when a prompt counts as answered, and
`result_table` how results become CSV or Parquet.

Guarantees:

*   Each record is written as one line, as soon as it is known. A killed run loses at most the
    record that it was writing; the next run removes the incomplete line. (After a power failure
    more may be lost: records are not synced to disk.)
*   Nothing is removed that is complete JSON or that does not start as a record does. The file is
    changed only after all of it has been recognised as records.
*   When the file is closed, only the last record of each prompt remains. The file is replaced
    atomically for this: see `rewrite`.
*   Two runs do not write to the same file: the second is refused, if the system has `fcntl.flock`
    and the file system supports it.
"""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from agy_actors.cli.records import begins_record, parse_record
from agy_actors.cli.result_table import ResultTable
from agy_actors.cli.rewrite import rewrite_without
from agy_actors.cli.usage_problem import UsageProblem

try:
    import fcntl
except ImportError:  # On Windows.
    fcntl = None  # type: ignore[assignment] # mypy knows the module, not its absence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from agy_actors.cli.ledger import Ledger
    from agy_actors.cli.records import Record, Result

__all__ = ["ResultFile", "refuse_to_overwrite_prompts"]

_ANOTHER = "name another file for the results"


def refuse_to_overwrite_prompts(source: str, out: Path | None) -> None:
    """Check that the results are not written to the file that the prompts are read from.

    Args:
        source: the path of the prompts, or ``-``.
        out: the path for the results; `None` or ``-`` for standard output.

    Raises:
        UsageProblem: both are the same file, possibly under different names.
    """
    try:
        prompts = os.fstat(0) if source == "-" else os.stat(source)  # noqa: PTH116 (as its pair)
        results = os.fstat(1) if out is None or str(out) == "-" else out.stat()
    except (OSError, ValueError):
        return  # One of the files does not exist.
    if stat.S_ISREG(results.st_mode) and os.path.samestat(prompts, results):
        name = "standard output" if out is None or str(out) == "-" else out
        raise UsageProblem(
            f"{name} is the file that the prompts are read from, and results would be added to it;"
            f" {_ANOTHER}"
        )


class ResultFile:
    """The file that results are appended to, or standard output. `write` is thread-safe.

    Args:
        path: the file; created if it does not exist. `None` or ``-`` is standard output. Only a
            regular file is read, not standard output, a pipe or a device. If its suffix is that of
            a table, the results are written to the table's journal, and converted at the end.
        ledger: gets the records in the file, and each record that is written.

    Raises:
        UsageProblem: the file cannot be opened, is in use by another run, or contains a line
            that is not a record.
    """

    problem: Exception | None = None
    """The error that prevented the removal of superseded records at close, or their conversion."""

    def __init__(self, path: Path | None, ledger: Ledger) -> None:
        if path is not None and str(path) == "-":
            path = None
        self.table = ResultTable.of(path)
        """The table that the results are converted to; `None` for JSON lines."""
        if self.table is not None:
            path = self.table.journal
        self._path = path
        self._ledger = ledger
        self._is_changed = False
        """Whether the journal has results that the table does not have."""
        self._lock = threading.Lock()
        self._file: io.FileIO | None = None
        self._regular = False
        if path is None:
            return
        self._file = _open_locked(path)
        try:
            self._regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            if self._regular:
                self._resume(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def __repr__(self) -> str:
        return f"<ResultFile {'standard output' if self._path is None else self._path}>"

    def write(self, result: Result) -> None:
        """Append a result; after this returns, killing the process does not lose it.

        Raises:
            OSError: the result could not be written. No part of it remains in the file.
        """
        line = result.to_line()
        with self._lock:
            if self._file is not None:
                _append(self._file, line)
            elif self._path is None:
                # Text output has its own buffer: flush it first to keep the order.
                sys.stdout.flush()
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            else:
                raise ValueError(f"the result file {self._path} is closed")
            self._is_changed = True
            self._ledger.note(result.prompt)

    def close(self) -> None:
        """Remove superseded records, or make the table, and close the file. Repeating it is safe.

        Standard output stays open. If this fails, `problem` holds the error.
        """
        with self._lock:
            if self._file is None:
                return
            try:
                superseded = self._ledger.superseded if self._regular else []
                if self.table is not None:
                    if self._is_changed:
                        self.table.convert(self._file, superseded)
                    self.table.remove_journal()
                elif superseded and self._path is not None:
                    rewrite_without(self._file, self._path, superseded)
            except (OSError, ValueError) as error:
                self.problem = error
            finally:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _resume(self, file: io.FileIO, path: Path) -> None:
        """Read the records, those of the table included."""
        self._ledger.add_records(self._earlier_records(file, path))

    def _earlier_records(self, file: io.FileIO, path: Path) -> Iterator[tuple[Record, int]]:
        end = _End()
        ids: set[int] = set()
        for record, offset in _read_records(file, path, end):
            ids.add(hash(record.id))
            yield record, offset
        self._is_changed = bool(ids)
        # Complete or remove an incomplete last line.
        if end.tail and parse_record(end.tail) is not None:
            _append(file, b"\n")  # The record is complete, only its line end is missing.
        elif end.tail:
            file.truncate(end.offset)
        for line in () if self.table is None else self.table.lines():
            copied = parse_record(line)
            if copied is not None and hash(copied.id) not in ids:
                offset = file.seek(0, os.SEEK_END)
                _append(file, line)
                yield copied, offset


class _End:
    """The offset where the complete lines end, and the bytes after it."""

    offset = 0
    tail = b""


def _read_records(file: io.FileIO, path: Path, end: _End) -> Iterator[tuple[Record, int]]:
    """Read all records, each with its offset.

    Raises:
        UsageProblem: the file contains something else. It is unchanged.
    """
    file.seek(0)
    reader = io.BufferedReader(file, 1 << 20)  # An unbuffered file reads lines byte by byte.
    try:
        for number, line in enumerate(reader, 1):
            record = parse_record(line)
            if record is not None:
                yield record, end.offset
            if not line.endswith(b"\n"):
                end.tail = line
                if record is None and (
                    _is_json(line) or not begins_record(line, after_records=end.offset > 0)
                ):
                    raise UsageProblem(
                        f"the last line of {path} is not a result of an earlier run; {_ANOTHER}"
                    )
            elif record is not None or not line.strip():
                end.offset += len(line)
            else:
                raise UsageProblem(
                    f"{path}, line {number} is not a result of an earlier run; {_ANOTHER}"
                )
    finally:
        reader.detach()  # Otherwise closing the reader would close the file.


def _open_locked(path: Path) -> io.FileIO:
    """Open and lock the file; open it again if another run replaced it meanwhile."""
    while True:
        file = _open(path)
        try:
            _lock(file, path)
            opened = os.fstat(file.fileno())
            if not stat.S_ISREG(opened.st_mode) or os.path.samestat(opened, path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True  # It may be JSON; a record is never nested so deeply.
    except ValueError:
        return False
    return True


def _open(path: Path) -> io.FileIO:
    try:
        # Unbuffered, so that each line is one system call. A pipe or a device can only be written.
        regular = not path.exists() or path.is_file()
        return path.open("a+b" if regular else "wb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageProblem(
            f"the results cannot be written to {path}: {why};"
            " name a file in an existing folder with write permission"
        ) from error


def _lock(file: io.FileIO, path: Path) -> None:
    """Lock the file until it is closed; the system also unlocks it if the process is killed."""
    if fcntl is None or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageProblem(
            f"another run is writing its results to {path}; wait for it, or name another file"
        ) from error
    except OSError:
        return  # A file system without locks, such as some network shares.


def _append(file: io.FileIO, line: bytes) -> None:
    """Write a complete line, or remove the part that was written (if the file is seekable)."""
    left = memoryview(line)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        written = len(line) - len(left)
        if written and file.seekable():
            with suppress(OSError):
                file.truncate(file.seek(0, 2) - written)
        raise
