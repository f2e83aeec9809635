"""Pools whose members do not start for a while: growth, replacement and scaling fail.

Each member has its own process, so that it needs a start. Its harness is a script that fails while
a file exists, and otherwise runs the real one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import tenacity
from google.antigravity.connections.local import local_connection

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    AgyActorsError,
    AskTimeout,
    Backoff,
    Chat,
    Disconnect,
    GetStatistics,
    Routing,
    Supervisor,
    TurnError,
)
from tests.soak.chaos._model import read_answer
from tests.soak.chaos._trial import Trial, end_of, wait_until
from tests.soak.chaos._world import CHAT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import ChatReply, PoolRef, ReplyFuture
    from tests.soak.chaos._plan import Prompt

__all__ = ["FailingStarts"]

_RECOVERY = 60.0
"""Seconds within which a pool has its full size again after starts succeed, and has answered all
turns. Arbitrary: the longest delay of a restart is one second here, a start takes a few on a busy
machine, and each of 16 turns of one member needs its own process."""

_CALL = 3.0
"""Seconds for a call that needs a failing start. Arbitrary; it may time out."""

_SIZE = 2
_LARGE = 4
_TURNS = 4
"""How many turns are asked at once: more than there are members, so that a scaling pool grows.
Arbitrary."""

_BACKOFF = Backoff(wait=tenacity.wait_exponential_jitter(initial=0.1, max=1.0, jitter=0.1))


class FailingStarts(Trial):
    """Prevents a pool's members from starting, and lets them start again."""

    fault: ClassVar[str] = "failing growth and replacement"

    def run_round(self) -> None:
        """Make starts fail, request something that needs a start, and check the pool afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._ground.folder))
        broken = folder / "broken"
        routing = self._chance.choice((Routing.SHORTEST_QUEUE, Routing.CONSISTENT_HASH))
        most = self._chance.choice((None, _LARGE))
        config = self._ground.model.openai_config(env=_harness(folder, broken))
        try:
            with (
                Supervisor.start(
                    name="fragile", backoff=_BACKOFF, max_conversations_per_process=1
                ) as supervisor,
                supervisor.create_pool(
                    config,
                    _SIZE,
                    routing=routing,
                    max_size=most,
                    shrink_after=1.0,
                    max_restarts=1000,
                ) as pool,
            ):
                self._break_starts(pool, broken)
        finally:
            shutil.rmtree(folder)

    def _break_starts(self, pool: PoolRef, broken: Path) -> None:
        asked = self._ask(pool, _TURNS)
        broken.touch()
        name, action = self._chance.choice(_ACTIONS)
        asked += self._ask(pool, _TURNS)
        sizes = {_SIZE}
        try:
            sizes = {action(pool)}
        except AgyActorsError as error:
            # A failed resize may or may not have changed the requested size.
            self.outcomes[f"{name}: {end_of(error)}"] += 1
            sizes |= {_LARGE}
        else:
            self.outcomes[name] += 1
        asked += self._ask(pool, _TURNS)
        self._over.wait(self._chance.uniform(0.2, 1.0))
        broken.unlink()
        asked += self._ask(pool, _TURNS)
        self._check_answers(asked, name)
        self._check_size(pool, name, sizes)

    def _ask(self, pool: PoolRef, number: int) -> list[tuple[Prompt, ReplyFuture[ChatReply]]]:
        asked = []
        for _ in range(number):
            prompt = self._prompt()
            chat = Chat(prompt.text, timeout=CHAT_TIMEOUT)
            asked.append((prompt, pool.ask(chat, block=False, key=prompt.nonce)))
        return asked

    def _check_answers(self, asked: list[tuple[Prompt, ReplyFuture[ChatReply]]], name: str) -> None:
        deadline = time.monotonic() + _RECOVERY
        for prompt, future in asked:
            try:
                reply = future.get(timeout=max(0.0, deadline - time.monotonic()))
            except (TurnError, AgentDeadError) as error:
                self.outcomes[f"a turn's {end_of(error)}"] += 1
            except AgyActorsError as error:
                self._blame(f"after {name}: {prompt.text!r} ended with {error!r}")
            else:
                self.outcomes["answers"] += 1
                answer = read_answer(reply.text)
                if answer is None or answer.nonce != prompt.nonce:
                    self._blame(f"after {name}: {prompt.text!r} was answered {reply.text!r}")

    def _check_size(self, pool: PoolRef, name: str, sizes: set[int]) -> None:
        def is_whole() -> bool:
            members = pool.members()
            alive = all(member.is_alive() for member in members)
            return alive and len(members) == pool.statistics().size and len(members) in sizes

        if wait_until(is_whole, _RECOVERY):
            self._check_answers(self._ask(pool, 2 * _TURNS), f"{name}, at its full size again")
        else:
            members = [str(member) for member in pool.members()]
            self._blame(f"after {name}: size not in {sizes}: {pool.statistics()}, {members}")


def _harness(folder: Path, broken: Path) -> dict[str, str]:
    real = local_connection._get_default_binary_path(None)
    path = folder / "harness"
    path.write_text(f"#!/bin/sh\n[ -e {broken} ] && exit 3\nexec {real}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"ANTIGRAVITY_HARNESS_PATH": str(path)}


def _resize(pool: PoolRef) -> int:
    pool.resize(_LARGE, timeout=_CALL)
    return _LARGE


def _resize_twice(pool: PoolRef) -> int:
    with contextlib.suppress(AgentStartError, AskTimeout):
        pool.resize(_LARGE, timeout=_CALL)
    pool.resize(1, timeout=_CALL)
    return 1


def _end_members(pool: PoolRef) -> int:
    for member in pool.members():
        member.ask(Disconnect(), timeout=_CALL)
    return _SIZE


def _kill_members(pool: PoolRef) -> int:
    for member in pool.members():
        pid = member.ask(GetStatistics(), timeout=_CALL).harness_pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    return _SIZE


def _end_and_resize(pool: PoolRef) -> int:
    pool.members()[0].ask(Disconnect(), timeout=_CALL)
    return _resize(pool)


_ACTIONS: tuple[tuple[str, Callable[[PoolRef], int]], ...] = (
    ("growth", _resize),
    ("growth taken back", _resize_twice),
    ("replacement", _end_members),
    ("restart", _kill_members),
    ("replacement and growth", _end_and_resize),
)
"""The requests that need starts, and the expected size afterwards."""
