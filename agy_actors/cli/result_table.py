"""`ResultTable`: results in a CSV or Parquet file.

Such a file cannot be appended to line by line: the first row of CSV names all columns, and a
Parquet file ends with its index. So a run writes to a journal beside it, which is a file of results
as JSON lines, and makes the table from the journal when it ends, also if it was interrupted. A run
that was killed leaves its journal, and the next run continues with it.

Guarantees:

*   A result is always in the journal or in the table. The table is replaced atomically, and the
    journal is removed only after that.
*   To copy the table into the journal may be interrupted at any time and repeated: only results
    whose ids are not in the journal are copied.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from agy_actors.cli.parquet import load_arrow
from agy_actors.cli.records import decode_record, encode_record, parse_record
from agy_actors.cli.result_csv import read_csv_records, write_csv_records
from agy_actors.cli.result_parquet import read_parquet_records, write_parquet_records
from agy_actors.cli.rewrite import replacing
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["ResultTable"]


class _Kind(NamedTuple):
    """How the records of a table are read and written."""

    read: Callable[[BinaryIO], Iterator[dict[str, Any]]]
    write: Callable[[BinaryIO, Callable[[], Iterable[dict[str, Any]]], str], None]


_KINDS = {
    ".csv": _Kind(read_csv_records, write_csv_records),
    ".parquet": _Kind(read_parquet_records, write_parquet_records),
}


class ResultTable:
    """A file of results as a table, and its journal.

    Args:
        path: the file; its suffix is that of a table.

    Raises:
        UsageProblem: the file is not one of results, or `pyarrow` is needed and not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.journal")
        """The file that a run appends its results to."""
        self._kind = _KINDS[path.suffix.lower()]
        if self._kind.write is write_parquet_records:
            load_arrow(str(path))
        for _ in self.lines():  # Before the journal is made: this checks all of the file.
            pass

    @classmethod
    def of(cls, path: Path | None) -> ResultTable | None:
        """Return the table if a file's suffix is that of one, or `None`.

        Raises:
            UsageProblem: the file is not one of results, or `pyarrow` is not installed.
        """
        return cls(path) if path is not None and path.suffix.lower() in _KINDS else None

    def __repr__(self) -> str:
        return f"<ResultTable {self.path}>"

    def lines(self) -> Iterator[bytes]:
        """Read the results in the table, as lines of a journal.

        Raises:
            UsageProblem: the file is not one of results, or cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise UsageProblem(f"{self.path} is not a regular file; name another file")
                if not status.st_size:
                    return
                for record in self._kind.read(file):
                    line = encode_record(record)
                    if parse_record(line) is None:
                        raise ValueError("a row is not a result")  # noqa: TRY301
                    yield line
        except FileNotFoundError:
            return
        except (ValueError, KeyError) as error:
            raise UsageProblem(
                f"{self.path} is not a file with results of an earlier run ({error}); name another"
                " file for the results"
            ) from error
        except OSError as error:
            raise UsageProblem(
                f"{self.path} cannot be read: {error.strerror or error}; name another file for the"
                " results"
            ) from error

    def convert(self, journal: io.FileIO, superseded: Sequence[int]) -> None:
        """Replace the table by the records of the journal, in the order of their prompts.

        Args:
            journal: the journal, which this process has locked.
            superseded: the offsets of records to leave out.

        Raises:
            OSError: the table could not be replaced, and is unchanged.
            ValueError: a record cannot be written to such a table, which is unchanged.
        """
        target = Path(os.path.realpath(self.path))
        try:
            before = target.stat()
        except FileNotFoundError:
            before = None
        left_out = set(superseded)
        places = sorted(
            (record["index"], offset)
            for record, offset in _records(journal)
            if offset not in left_out
        )

        def read() -> Iterator[dict[str, Any]]:
            reader = io.BufferedReader(journal, 1 << 16)
            try:
                for _, offset in places:
                    reader.seek(offset)
                    record = decode_record(reader.readline())
                    if record is None:
                        raise OSError("another program changed the journal during the run")
                    yield record
            finally:
                reader.detach()  # Otherwise closing the reader would close the file.

        with replacing(target, before, os.fstat(journal.fileno()).st_ino) as out:
            self._kind.write(out, read, str(self.path))

    def remove_journal(self) -> None:
        """Remove the journal, whose results are in the table."""
        with suppress(FileNotFoundError):
            self.journal.unlink()


def _records(journal: io.FileIO) -> Iterator[tuple[dict[str, Any], int]]:
    journal.seek(0)
    offset = 0
    reader = io.BufferedReader(journal, 1 << 20)
    try:
        for line in reader:
            record = decode_record(line)
            if record is not None:
                yield record, offset
            offset += len(line)
    finally:
        reader.detach()  # Otherwise closing the reader would close the file.
