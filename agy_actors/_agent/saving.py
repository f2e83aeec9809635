"""Whether what the turns of an agent add to its conversation is saved.

An answer of the model does not depend on the disk: if it is full, turns are answered and lost at
the next restart. Two things tell that (measured with google-antigravity 0.1.22, by disks that are
full and by errors put into system calls):

*   A file other than the database that cannot be written, the transcript above all, is named in a
    line of the harness's standard error, in the words of Go: `write PATH: no space left on device`.
*   Of the database nothing is said. So it is looked at after each turn: see `wal_index`. Each turn
    commits several times. One that has committed nothing is not saved, and neither is one that
    left a part of a write behind that was never committed.

The harness writes shortly after it says that a turn has ended. So what looks wrong is looked at
again until a second has passed, and only what is still wrong then is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agy_actors._events import StateNotSaved
from agy_actors._harness import read_committed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.antigravity import AgentConfig

    from agy_actors._agent._life import AgentSpec
    from agy_actors._agent.save_episode import Episode
    from agy_actors._harness import Committed

__all__ = ["NotSaved", "SaveWatch", "read_failed_write"]

_PATIENCE = 1.0
"""Seconds for the harness to commit what a turn added. It takes milliseconds, and tenths on a busy
machine; arbitrary."""

_LOOK_EVERY = 0.02  # Seconds; arbitrary.

_LATE_WRITES = 0.1
"""Seconds after a turn's end by which its last step is committed: milliseconds; arbitrary."""

_NO_SPACE = 65536
"""Bytes; less is no space. The harness writes pages of 32 kB, each with a header."""

_FAILURE = re.compile(
    r"\b(chmod|close|link|mkdir|open|rename|sync|truncate|write) ((?:/|[A-Za-z]:\\).*): ([^:]+)$"
)
"""An error of Go's package `os`: what was done, to which path, and why it failed."""

_NO_WRITE = re.compile(
    "no space left|read-only file system|quota exceeded|input/output error|permission denied"
    "|operation not permitted|too many open files|file too large|stale .*file handle"
)
"""Why a file cannot be opened to be written. Others, such as `no such file or directory`, may be
why it cannot be read, which may be as it should be."""

_ID = re.compile(r"[A-Za-z0-9-]{32,}")
"""The id of a conversation, as the SDK has it."""


class NotSaved(NamedTuple):
    """What cannot be saved, and why."""

    path: str
    reason: str


def read_failed_write(
    line: str, conversation_id: str, save_dirs: Sequence[str], app_data_dirs: Sequence[str]
) -> NotSaved | None:
    """Return what a line says of a conversation's files that could not be written, if it does.

    Args:
        line: a line of the standard error of a harness.
        conversation_id: the conversation.
        save_dirs: the folder of databases, in the spellings that it has.
        app_data_dirs: the folder of transcripts, in the spellings that it has.
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
        # Others may have files there too: tools, if it is a workspace.
        name = path.removeprefix(folder).strip(os.sep)
        if path == folder or (_is_within(path, folder) and _ID.match(name)):
            owner = name.partition(".")[0]
            return NotSaved(path, reason) if owner in ("", conversation_id) else None
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class SaveWatch:
    """Watches over one session's files. For the agent's loop, except `hear`.

    Args:
        spec: the agent's.
        config: the session's, whose conversation may be another.
        episode: the agent's.
        log: the agent's.
    """

    def __init__(self, spec: AgentSpec, config: AgentConfig, episode: Episode, log: Any) -> None:
        self._spec = spec
        self._conversation_id = config.conversation_id or ""
        self._database = spec.save_dir.resolve() / f"{self._conversation_id}.db"
        self._save_dirs = _spellings(config.save_dir)
        self._app_data_dirs = _spellings(config.app_data_dir)
        self._episode = episode
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: Committed | None = None
        self._turns = 0
        self._checks: set[asyncio.Task[None]] = set()
        self._suspects: set[asyncio.Task[None]] = set()
        """Those of the checks that have found something wrong, and look again."""
        self._closing = asyncio.Event()

    def hear(self, line: str) -> None:
        """Hear a line of the standard error of the session's harness. Callable from any thread."""
        failure = read_failed_write(
            line, self._conversation_id, self._save_dirs, self._app_data_dirs
        )
        if failure is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._report, failure)

    def open(self) -> None:
        """Note that the session begins to open: from now on, `hear` reports."""
        self._loop = asyncio.get_running_loop()

    async def begin_turn(self) -> None:
        """Note that a turn begins. Wait if the one before looks unsaved, and that would be news.

        What the next turn commits could not be told from what the one before commits late.
        """
        if self._suspects and not self._episode.is_open:
            await asyncio.wait(list(self._suspects))
        self._episode.begin_turn(in_doubt=bool(self._suspects))
        self._turns += 1
        self._before = read_committed(self._database)

    def end_turn(self) -> None:
        """Note that the model has answered, and the turn has ended: check that it was saved."""
        check = asyncio.get_running_loop().create_task(self._check(self._before, self._turns))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def close(self, *, at_once: bool = False) -> None:
        """Finish the checks, or give them up. While the harness still has the database open."""
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
                await asyncio.sleep(_LOOK_EVERY)
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
        # Only while no other turn writes, and if what follows in the log is of this turn.
        same_log = before.log_size == 0 or (now.salt == before.salt and not before.has_rest)
        return turn == self._turns and same_log and now.has_rest

    def _exists(self) -> bool:
        try:
            self._database.stat()
        except FileNotFoundError:
            return False
        except OSError:  # We may not look. The harness has it open.
            return True
        return True

    def _reason(self) -> str:
        if not self._exists():
            return "no such file or directory"
        return _problem_of(self._database.parent) or "the harness could not write to it"

    def _report(self, failure: NotSaved) -> None:
        if not self._episode.note():
            return
        spec = self._spec
        self._log.warning(
            "Not all of the conversation of agent {!r} is saved, and what is missing will be lost"
            " at its next restart; make room, or make this path writable again: {}: {}",
            spec.name,
            failure.path,
            failure.reason,
        )
        if spec.hub.active:
            spec.hub.publish(
                StateNotSaved(
                    supervisor=spec.supervisor,
                    agent=spec.name,
                    path=failure.path,
                    reason=failure.reason,
                )
            )


def _problem_of(folder: Path) -> str | None:
    """Return why nothing can be written to a folder, in Go's words, if its file system tells."""
    try:
        system = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows has no such call.
        return None
    if system.f_flag & os.ST_RDONLY:
        return "read-only file system"
    return "no space left on device" if system.f_bavail * system.f_frsize < _NO_SPACE else None


def _spellings(folder: str | None) -> list[str]:
    if not folder:
        return []
    return list(dict.fromkeys((os.fspath(folder), str(Path(folder).resolve()))))
