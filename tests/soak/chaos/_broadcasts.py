"""Broadcasts whose pool, or whose pool's supervisor, ends while they are in progress."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors import (
    AgentDeadError,
    AgyActorsError,
    Chat,
    Disconnect,
    MailboxFull,
    Restart,
    Routing,
    TurnError,
)
from tests.soak.chaos._model import read_answer
from tests.soak.chaos._plan import Fault
from tests.soak.chaos._tools import TOOLS
from tests.soak.chaos._trial import SOON, Trial, end_of
from tests.soak.chaos._world import CHAT_TIMEOUT, STALL_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import ChatReply, PoolRef, ReplyFuture, SupervisorRef
    from tests.soak.chaos._plan import Prompt

__all__ = ["Broadcast", "Broadcasts", "faults_of_broadcast"]

_END = 120.0
"""Seconds for an end that waits for turns. Arbitrary; only a failure takes as long."""

_FAULTS = (Fault.NONE, Fault.NONE, Fault.SLOW, Fault.TOOL, Fault.UNAVAILABLE, Fault.SILENCE)


@dataclasses.dataclass(slots=True)
class Broadcast:
    """One broadcast and its result."""

    prompt: Prompt
    members: int | None
    """How many members must reply; `None` if it changed during the broadcast."""
    resolved: int = 0
    """How many times its future was resolved."""
    replies: list[ChatReply] | None = None
    error: BaseException | None = None


def faults_of_broadcast(broadcast: Broadcast) -> Iterator[str]:
    """Return the errors of a broadcast whose pool has ended."""
    what = f"the broadcast {broadcast.prompt.text!r}"
    if broadcast.resolved != 1:
        yield f"{what} was answered {broadcast.resolved} times"
    error, replies = broadcast.error, broadcast.replies
    if error is not None and not isinstance(error, TurnError | AgentDeadError | MailboxFull):
        yield f"{what} ended with an error that we do not promise: {error!r}"
    if replies is None:
        return
    if broadcast.members is not None and len(replies) != broadcast.members:
        yield f"{what} has {len(replies)} replies of {broadcast.members} members"
    if len({reply.conversation_id for reply in replies}) != len(replies):
        yield f"{what} has two replies from one conversation"
    for reply in replies:
        answer = read_answer(reply.text)
        if answer is None or answer.nonce != broadcast.prompt.nonce:
            yield f"{what} has the reply {reply.text!r}"
        elif answer.of_others:
            yield f"{what} has a reply that remembers {sorted(answer.of_others)}"


class Broadcasts(Trial):
    """Ends a pool while it broadcasts."""

    fault: ClassVar[str] = "broadcast at stop"

    def run_round(self) -> None:
        """Start broadcasts, end the pool or its supervisor, and check the answers."""
        owner = self._ground.root.create_supervisor(restart=Restart.TEMPORARY)
        try:
            size = self._chance.randint(2, 4)
            config = self._ground.model.openai_config(tools=[TOOLS[Fault.TOOL]])
            pool = owner.create_pool(config, size, routing=Routing.BROADCAST)
            self._end_amid_broadcasts(owner, pool, size)
        finally:
            owner.stop()

    def _end_amid_broadcasts(self, owner: SupervisorRef, pool: PoolRef, size: int) -> None:
        disturb = self._chance.choice(_DISTURBANCES)
        asked = [
            self._ask(pool, None if disturb else size) for _ in range(self._chance.randint(1, 3))
        ]
        self._over.wait(self._chance.expovariate(1 / 0.1))
        if disturb is not None:
            disturb(pool)
            asked.append(self._ask(pool, None))
        name, end = self._chance.choice(_ENDS)
        end(owner, pool)
        deadline = time.monotonic() + SOON
        for broadcast, future in asked:
            try:
                broadcast.replies = future.get(timeout=max(0.0, deadline - time.monotonic()))
            except Exception as error:  # noqa: BLE001 (it is judged below)
                broadcast.error = error
            self.outcomes[end_of(broadcast.error)] += 1
            for wrong in faults_of_broadcast(broadcast):
                self._blame(f"after {name}: {wrong}")

    def _ask(
        self, pool: PoolRef, members: int | None
    ) -> tuple[Broadcast, ReplyFuture[list[ChatReply]]]:
        broadcast = Broadcast(self._prompt(self._chance.choice(_FAULTS)), members)
        # Of any type: the reply is a list, unlike the message's type.
        chat: Any = Chat(broadcast.prompt.text, timeout=CHAT_TIMEOUT, stall_timeout=STALL_TIMEOUT)
        future: ReplyFuture[list[ChatReply]] = pool.ask(chat, block=False)
        future.add_done_callback(lambda _: _count(broadcast))
        return broadcast, future


def _count(broadcast: Broadcast) -> None:
    broadcast.resolved += 1


def _shrink(pool: PoolRef) -> None:
    pool.resize(1, timeout=_END)


def _grow(pool: PoolRef) -> None:
    pool.resize(4, timeout=_END)


def _end_member(pool: PoolRef) -> None:
    members = pool.members()
    if members:
        members[0].ask(Disconnect(), timeout=_END)


_DISTURBANCES: tuple[Callable[[PoolRef], None] | None, ...] = (
    None,
    None,
    _shrink,
    _grow,
    _end_member,
)


def _wait(_: SupervisorRef, pool: PoolRef) -> None:
    """Let it answer the asks."""
    with contextlib.suppress(AgyActorsError):
        pool.broadcast(Chat("all done?", timeout=CHAT_TIMEOUT), timeout=_END)
    pool.stop()


_ENDS: tuple[tuple[str, Callable[[SupervisorRef, PoolRef], object]], ...] = (
    ("the stop of the pool", lambda _, pool: pool.stop()),
    ("the pool's drain", lambda _, pool: pool.shutdown(drain=True, timeout=_END)),
    ("the end of the pool by its supervisor", lambda owner, pool: owner.shutdown_agent(pool)),
    ("the stop of the supervisor", lambda owner, _: owner.stop()),
    ("the supervisor's drain", lambda owner, _: owner.shutdown(drain=True, timeout=_END)),
    ("its turn", _wait),
)
