"""The results of a run as JSON lines, written as they come; a run can be taken up again.

One record a line:

    {"id": "line-1", "index": 0, "prompt": "…", "text": "…", "usage": {…} | null,
     "agent": "…", "seconds": 1.2, "attempts": 1,
     "error": null | {"type": "…", "message": "…", "retryable": true},
     "extra": {…}}                                 (only where the prompt brought any)

A prompt is answered when there is a record of its id *and* its text without an error: a
changed prompt is asked anew, and so is one that failed. Records are only ever added, in
the order in which they come; of several records of one prompt the last one counts.

What is guaranteed:

*   A record is written at once, as one line. A run that is killed loses at most the
    record it was writing; the half of it is cut off when the run is taken up again. (A
    machine that loses its power may lose more: nothing is forced to the disk.)
*   A line that is complete is never lost, nor changed. A file is only touched once all
    of it is known to be records of ours; the half of a last one has to begin like one.
*   Two runs do not write to one file: the second is refused, where the system has
    `fcntl.flock` and the file system supports it.
"""

from __future__ import annotations

import io
import json
import stat
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agy_actors.cli._prompts import PromptLine, UsageProblem

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment] # mypy knows the module, not its absence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["Failure", "Result", "ResultFile"]

_START = b'{"id": '
"""How every line begins that we write."""


@dataclass(frozen=True)
class Failure:
    """Why a prompt has no answer."""

    type: str
    """The name of the error's class."""

    message: str

    retryable: bool
    """Whether the same prompt may succeed when asked again, unchanged."""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an error; one that does not say whether it is retryable is not."""
        retryable = bool(getattr(error, "retryable", False))
        return cls(type(error).__name__, str(error), retryable)


@dataclass(frozen=True)
class Result:
    """What became of one prompt."""

    prompt: PromptLine

    text: str | None
    """The answer; with an error, what had come of it, if anything."""

    agent: str
    """The name of the agent that was asked."""

    seconds: float
    """From asking to the answer or the error."""

    attempts: int = 1
    """How often it was asked within this run."""

    usage: Mapping[str, Any] | None = None
    """Tokens, as the model reported them."""

    error: Failure | None = None

    def to_line(self) -> bytes:
        """Encode it as one line, with its end."""
        prompt, error = self.prompt, self.error
        record: dict[str, Any] = {
            "id": prompt.id,  # First: see `_START`.
            "index": prompt.index,
            "prompt": prompt.prompt,
            "text": self.text,
            "usage": None if self.usage is None else dict(self.usage),
            "agent": self.agent,
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "error": None
            if error is None
            else {"type": error.type, "message": error.message, "retryable": error.retryable},
        }
        if prompt.extra:
            record["extra"] = dict(prompt.extra)
        text = json.dumps(record, ensure_ascii=False)
        # Half of a surrogate pair, which a model may produce, has no UTF-8; its
        # backslashreplace is just the escape that JSON has for it.
        return text.encode("utf-8", "backslashreplace") + b"\n"


class ResultFile:
    """Where results go: a file that remembers what is answered, or standard output.

    `write` is for any thread.

    Args:
        path: the file, created if missing. `None` or ``-`` is standard output; it, and
            a path that is no regular file (a pipe, a device), is never read.

    Raises:
        UsageProblem: the file cannot be opened, is another run's at the moment, or
            holds what no run of ours has written.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None and str(path) == "-":
            path = None
        self._path = path
        self._lock = threading.Lock()
        self._answered: set[tuple[str, str]] = set()
        self._file: io.FileIO | None = None
        if path is not None:
            self._file = _open(path)
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    _claim(self._file, path)
                    self._take_up(self._file, path)
            except BaseException:
                self._file.close()
                raise

    def __repr__(self) -> str:
        name = "standard output" if self._path is None else self._path
        return f"<ResultFile {name}: {len(self._answered)} answered>"

    @property
    def answered(self) -> int:
        """How many different prompts have an answer, of this run and of earlier ones."""
        return len(self._answered)

    def is_answered(self, prompt: PromptLine) -> bool:
        """Whether there is an answer to this prompt under this id."""
        return (prompt.id, prompt.prompt) in self._answered

    def pending(self, prompts: Iterable[PromptLine]) -> list[PromptLine]:
        """Leave out the prompts that are answered."""
        return [prompt for prompt in prompts if not self.is_answered(prompt)]

    def write(self, result: Result) -> None:
        """Add a result; when this returns, killing this process does not lose it.

        Raises:
            OSError: it could not be written. No half of it is left in the file.
        """
        line = result.to_line()
        with self._lock:
            if self._file is not None:
                _append(self._file, line)
            elif self._path is None:
                # What was printed before stays before: text has a buffer of its own.
                sys.stdout.flush()
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            else:
                raise ValueError(f"the result file {self._path} is closed")
            if result.error is None:
                self._answered.add((result.prompt.id, result.prompt.prompt))

    def close(self) -> None:
        """Let go of the file. Standard output stays open. Harmless when done again."""
        with self._lock:
            if self._file is not None:
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

    def _take_up(self, file: io.FileIO, path: Path) -> None:
        """Learn what is answered, and leave the file at the start of a new line."""
        complete = 0  # The length of what is known to be complete lines.
        tail = b""
        file.seek(0)
        reader = io.BufferedReader(file)  # The file itself would read byte by byte.
        for number, line in enumerate(reader, 1):
            if not line.endswith(b"\n"):
                tail = line
            elif not line.strip() or self._learn(line):
                complete += len(line)
            else:
                raise UsageProblem(
                    f"{path}, line {number} is not a result of an earlier run;"
                    " name another file for the results, or remove this one"
                )
        reader.detach()  # Or else the file would be closed with it.
        if not tail:
            return
        if self._learn(tail):
            _append(file, b"\n")  # Complete, but for its end.
        elif tail.startswith(_START) or _START.startswith(tail):
            file.truncate(complete)
        else:
            raise UsageProblem(
                f"{path} ends with what is not a result of an earlier run;"
                " name another file for the results, or remove this one"
            )

    def _learn(self, line: bytes) -> bool:
        """Note an answer. Returns whether the line is a record of ours."""
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return False
        match record:
            case {"id": str(id_), "prompt": str(prompt), "text": _, "agent": _, "error": error}:
                if error is None:
                    self._answered.add((id_, prompt))
                return True
        return False


def _open(path: Path) -> io.FileIO:
    try:
        # Reading and appending; unbuffered, so that a line is one write of the system's.
        # A pipe or a device cannot be read as well.
        regular = not path.exists() or path.is_file()
        return path.open("a+b" if regular else "wb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageProblem(
            f"the results cannot be written to {path}: {why};"
            " name a file in a folder that exists and is yours to write"
        ) from error


def _claim(file: io.FileIO, path: Path) -> None:
    """Lock the file until it is closed; the system undoes it for a killed process too."""
    if fcntl is None:
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
    """Write all of a line, or nothing of it (where the file can be cut)."""
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
