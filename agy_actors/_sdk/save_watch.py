"""`SaveWatch`: checks whether the turns of an agent are saved to its conversation.

The replies of the model do not depend on the disk: if it is full, turns get replies, and are lost
at the next restart. Two signs show this (measured with google-antigravity 0.1.22, with full disks
and with injected errors of system calls):

*   If a file other than the database cannot be written, usually the transcript, a line of the
    harness's standard error names it in the words of Go: `write PATH: no space left on device`.
*   About the database the harness reports nothing. So it is read after each turn: see `wal_index`.
    Each turn commits several times. A turn without a commit is not saved, and neither is a turn
    that leaves a part of a write without a commit.

The harness writes shortly after it reports the end of a turn. So a turn that looks unsaved is
checked again for a second, and reported only if it still looks unsaved then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._sdk.wal_index import read_committed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.antigravity import AgentConfig

    from agy_actors._sdk.save_episode import Episode
    from agy_actors._sdk.wal_index import Committed

__all__ = ["NotSaved", "SaveWatch", "read_failed_write"]

_PATIENCE = 1.0
"""Seconds for the harness to commit the data of a turn. It takes milliseconds, and tenths on a busy
machine; arbitrary."""

_POLL_INTERVAL = 0.02  # Seconds between two checks. Arbitrary.

_LATE_WRITES = 0.1
"""Seconds after a turn's end in which its last step is committed. It takes milliseconds.
Arbitrary."""

_MIN_SPACE = 65536
"""Free bytes below which a disk counts as full. The harness writes pages of 32 kB with headers."""

_FAILURE = re.compile(
    r"\b(chmod|close|link|mkdir|open|rename|sync|truncate|write) ((?:/|[A-Za-z]:\\).*): ([^:]+)$"
)
"""An error of Go's package `os`: the operation, the path and the reason."""

_NO_WRITE = re.compile(
    "no space left|read-only file system|quota exceeded|input/output error|permission denied"
    "|operation not permitted|too many open files|file too large|stale .*file handle"
)
"""Reasons why a file cannot be opened for writing. With other reasons, such as `no such file or
directory`, the harness may have tried to read it, which may be normal."""

_ID = re.compile(r"[A-Za-z0-9-]{32,}")
"""The form of the SDK's conversation ids."""


class NotSaved(NamedTuple):
    """A file that cannot be written, and why."""

    path: str
    reason: str


def read_failed_write(
    line: str, conversation_id: str, save_dirs: Sequence[str], app_data_dirs: Sequence[str]
) -> NotSaved | None:
    """Return the file of a conversation that could not be written according to a line, if any.

    Args:
        line: a line of the standard error of a harness.
        conversation_id: the id of the conversation.
        save_dirs: all spellings of the folder of databases.
        app_data_dirs: all spellings of the folder of transcripts.
    """
    match = _FAILURE.search(line.rstrip())
    if match is None:
        return None
    action, path, reason = match.groups()
    if action == "open" and not _NO_WRITE.search(reason):
        return None
    for folder in app_data_dirs:
        if _is_within(path, folder):
            top, *rest = (*Path(path).relative_to(folder).parts, "")
            owner = rest[0] if top == "brain" and rest else ""
            return NotSaved(path, reason) if owner in ("", conversation_id) else None
    for folder in save_dirs:
        # The folder may contain other files: those of tools, if it is a workspace.
        name = path.removeprefix(folder).strip(os.sep)
        if path == folder or (_is_within(path, folder) and _ID.match(name)):
            owner = name.partition(".")[0]
            return NotSaved(path, reason) if owner in ("", conversation_id) else None
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class SaveWatch:
    """Checks the files of one session. For the agent's loop, except `note_line`.

    Args:
        config: the configuration of the session, which names its conversation.
        save_dir: the folder of the conversation's database.
        episode: decides whether a failure is reported. All sessions of an agent share it.
        report: called with a failure that is to be reported, on the agent's loop.
    """

    def __init__(
        self,
        config: AgentConfig,
        save_dir: Path,
        episode: Episode,
        report: Callable[[NotSaved], None],
    ) -> None:
        self._conversation_id = config.conversation_id or ""
        self._database = save_dir.resolve() / f"{self._conversation_id}.db"
        self._save_dirs = _spellings(config.save_dir)
        self._app_data_dirs = _spellings(config.app_data_dir)
        self._episode = episode
        self._report_failure = report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: Committed | None = None
        self._turns = 0
        self._checks: set[asyncio.Task[None]] = set()
        self._suspects: set[asyncio.Task[None]] = set()
        """The checks that have found something wrong, and check again."""
        self._closing = asyncio.Event()

    def note_line(self, line: str) -> None:
        """Check a line of the harness's standard error. Thread-safe."""
        failure = read_failed_write(
            line, self._conversation_id, self._save_dirs, self._app_data_dirs
        )
        if failure is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._report, failure)

    def open(self) -> None:
        """Note that the session starts to open. From now on, `note_line` reports."""
        self._loop = asyncio.get_running_loop()

    async def begin_turn(self) -> None:
        """Note that a turn begins. Wait if the previous one looks unsaved and is not reported yet.

        Commits of the next turn could not be distinguished from late ones of the previous turn.
        """
        if self._suspects and not self._episode.is_open:
            await asyncio.wait(list(self._suspects))
        self._episode.begin_turn(maybe_unsaved=bool(self._suspects))
        self._turns += 1
        self._before = read_committed(self._database)

    def end_turn(self) -> None:
        """Note that a turn with a reply has ended, and start to check that it is saved."""
        check = asyncio.get_running_loop().create_task(self._check(self._before, self._turns))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def close(self, *, at_once: bool = False) -> None:
        """Finish the checks, or cancel them. Call it while the harness has the database open."""
        self._closing.set()
        if self._checks:
            if at_once:
                for check in self._checks:
                    check.cancel()
            await asyncio.wait(list(self._checks))

    async def _check(self, before: Committed | None, turn: int) -> None:
        failure = await self._wait_until_saved(before, turn)
        if failure is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _LATE_WRITES)
            failure = await self._wait_until_saved(before, turn)
        if failure is not None:
            self._report(failure)

    async def _wait_until_saved(self, before: Committed | None, turn: int) -> NotSaved | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        this = asyncio.current_task()
        assert this is not None
        try:
            while self._looks_unsaved(before, turn):
                if loop.time() >= deadline:
                    return NotSaved(str(self._database), self._reason())
                self._suspects.add(this)
                await asyncio.sleep(_POLL_INTERVAL)
        finally:
            self._suspects.discard(this)
        return None

    def _looks_unsaved(self, before: Committed | None, turn: int) -> bool:
        if not self._exists():
            return True
        now = read_committed(self._database)
        if before is None or now is None:
            return False
        if now.header == before.header:
            return True
        # Only while no other turn writes, and if the rest of the log belongs to this turn.
        same_log = before.log_size == 0 or (now.salt == before.salt and not before.has_rest)
        return turn == self._turns and same_log and now.has_rest

    def _exists(self) -> bool:
        try:
            self._database.stat()
        except FileNotFoundError:
            return False
        except OSError:  # No permission to check. The harness has it open.
            return True
        return True

    def _reason(self) -> str:
        if not self._exists():
            return "no such file or directory"
        return _problem_of(self._database.parent) or "the harness could not write to it"

    def _report(self, failure: NotSaved) -> None:
        if self._episode.note():
            self._report_failure(failure)


def _problem_of(folder: Path) -> str | None:
    """Return why a folder cannot be written, in Go's words, if the file system reports it."""
    try:
        system = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows has no such call.
        return None
    if system.f_flag & os.ST_RDONLY:
        return "read-only file system"
    return "no space left on device" if system.f_bavail * system.f_frsize < _MIN_SPACE else None


def _spellings(folder: str | None) -> list[str]:
    if not folder:
        return []
    return list(dict.fromkeys((os.fspath(folder), str(Path(folder).resolve()))))
