"""`RequestRunner`: runs the durable requests that this program has claimed.

A request is claimed, and its session is woken. If a program died while it ran the request, the
conversation tells what became of it. Otherwise the attempt is saved, and then the prompt is sent.
The reply or the error is saved before anybody gets it.

Guarantees:

*   A request is finished once, by the program that owns it.
*   The prompt of a request is sent again only if a program died in the middle of its turn, and no
    tool call is in the conversation.
*   An orderly stop counts as a death, if the prompt may have been sent: the next program looks into
    the conversation.
"""

from __future__ import annotations

import asyncio
import functools
import math
from typing import TYPE_CHECKING, Any

from agy_actors._agents.agent_messages import GetHistory
from agy_actors._sdk.errors import AgentStartError, BudgetExceeded, TurnInterrupted
from agy_actors._sessions.recovered_turn import Unfinished, find_turn
from agy_actors._sessions.request_state import RequestState
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.stored_errors import SessionStorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loguru import Logger

    from agy_actors._agents.budgets import Budgets
    from agy_actors._sessions.request_store import RequestStore
    from agy_actors._sessions.stored_request import StoredRequest

__all__ = ["RequestRunner"]

_LOOK_EVERY = 0.1
"""Seconds between two looks at changes by other programs. Ten times a second at most."""

_TAKE_OVER_EVERY = 1.0
"""Seconds between two looks for programs that have died. Arbitrary: each look tries a lock for each
program that runs requests."""

_FORGET_EVERY = 60.0
"""Seconds between two removals of old results. Arbitrary."""

_PAUSE = 1.0
"""Seconds after which a request whose session did not start is tried again. Arbitrary."""

_MAX_ATTEMPTS = 5
"""How often a prompt is sent whose program dies each time, since it may be the cause. Arbitrary."""

FINISHED = (RequestState.DONE, RequestState.FAILED, RequestState.CANCELLED)
"""The states of a request that does not change any more."""


class RequestRunner:
    """Runs durable requests. For the loop of the sessions, unless stated otherwise.

    Args:
        folder: the folder of the sessions.
        ask: asks a session's agent, without a limit to the wait until it is awake:
            `SessionTurns.ask_patiently`.
        length_of: returns how many steps the conversation of an awake session has.
        is_ending: returns whether the sessions are ending.
        budgets: the budgets that limit the turns. While one is used up, requests wait.
        limit: how many requests run at a time.
        keep_results: seconds for which results are kept.
        now: reads the wall clock.
        log: the log of the sessions.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ask: Callable[..., Awaitable[Any]],
        length_of: Callable[[str], int],
        is_ending: Callable[[], bool],
        budgets: Budgets,
        limit: int,
        keep_results: float,
        now: Callable[[], float],
        log: Logger,
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._length_of = length_of
        self._is_ending = is_ending
        self._budgets = budgets
        self._limit = limit
        self._keep_results = keep_results
        self._now = now
        self._log = log
        self._running: dict[str, asyncio.Task[None]] = {}
        """The tasks that run requests, by key."""
        self._waiting: dict[str, list[asyncio.Future[StoredRequest | None]]] = {}
        """The futures of those who wait for the end of a request, by its id."""
        self._woken = asyncio.Event()
        self._paused: dict[str, float] = {}
        """Until when the requests of a key are not claimed, by the loop's clock."""

    def look(self) -> None:
        """Look for requests at once."""
        self._woken.set()

    async def wait_for(self, request_id: str, store: RequestStore) -> StoredRequest | None:
        """Wait until a request is finished, and return it; `None` if it does not exist."""
        found = await asyncio.to_thread(store.get, request_id)
        if found is None or found.state in FINISHED:
            return found
        done: asyncio.Future[StoredRequest | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(request_id, [])
        waiting.append(done)
        self.look()  # It may have finished meanwhile.
        try:
            return await done
        finally:
            waiting.remove(done)
            if not waiting:
                self._waiting.pop(request_id, None)

    async def run(self, open_store: Callable[[], RequestStore | None]) -> None:
        """Run requests until this is cancelled.

        Args:
            open_store: returns the requests of the folder; `None` if it has none yet.
        """
        loop = asyncio.get_running_loop()
        seen: object = None
        waits = False  # For a budget.
        take_over_at = forget_at = -math.inf
        while True:
            store = open_store()
            now = loop.time()
            if store is not None and not self._is_ending():
                if now >= take_over_at:
                    take_over_at = now + _TAKE_OVER_EVERY
                    await asyncio.to_thread(store.take_over)
                if now >= forget_at:
                    forget_at = now + _FORGET_EVERY
                    await asyncio.to_thread(store.forget, self._now() - self._keep_results)
                self._paused = {key: at for key, at in self._paused.items() if at > now}
                changes = store.changes()
                has_room = not self._budgets.retry_after
                if self._woken.is_set() or changes != seen or (waits and has_room):
                    self._woken.clear()
                    seen, waits = changes, not has_room
                    if has_room:
                        await self._claim(store)
                    await self._answer(store)
            pause = _LOOK_EVERY if store is not None else _TAKE_OVER_EVERY
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Cancel what runs. The requests stay claimed until their store is closed."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    @property
    def busy(self) -> bool:
        """Whether a request runs."""
        return bool(self._running)

    async def _claim(self, store: RequestStore) -> None:
        free = self._limit - len(self._running)
        skipped = {*self._running, *self._paused}
        for request in await asyncio.to_thread(store.claim, free, skipped):
            task = asyncio.get_running_loop().create_task(self._run(store, request))
            self._running[request.key] = task
            task.add_done_callback(functools.partial(self._note_end, request.key))

    def _note_end(self, key: str, _: asyncio.Task[None]) -> None:
        del self._running[key]
        self.look()

    async def _answer(self, store: RequestStore) -> None:
        for request_id in list(self._waiting):
            found = await asyncio.to_thread(store.get, request_id)
            if found is None or found.state in FINISHED:
                for done in self._waiting.get(request_id, []):
                    if not done.done():
                        done.set_result(found)

    async def _run(self, store: RequestStore, request: StoredRequest) -> None:
        try:
            await self._try(store, request)
        except BudgetExceeded as error:
            self._log.debug("Durable request {!r} waits: {}", request.id, error)
            await self._save(lambda: store.put_back(request.id, was_attempted=True))
        except Exception as error:  # noqa: BLE001 (the request gets any error of its turn)
            if not self._is_ending():  # Otherwise the next program continues with it.
                failure = error
                await self._save(lambda: store.finish(request.id, None, failure))

    async def _try(self, store: RequestStore, request: StoredRequest) -> None:
        key = request.key
        try:
            steps = await self._ask(key, GetHistory())
        except AgentStartError as error:
            if not error.retryable or self._is_ending():
                raise
            self._log.warning("Session {!r} did not start and is tried again: {}", key, error)
            self._paused[key] = asyncio.get_running_loop().time() + _PAUSE
            await self._save(lambda: store.put_back(request.id))
            return
        if request.interrupted and request.history_length is not None:
            found = find_turn(steps, request, conversation_id_of(key))
            if found is Unfinished.UNSAFE:
                raise TurnInterrupted(
                    f"the program died in the middle of request {request.id!r} of session {key!r},"
                    " after a tool call: it is not tried again"
                )
            if not isinstance(found, Unfinished):
                await self._save(lambda: store.finish(request.id, found, None))
                return
            if request.attempts >= _MAX_ATTEMPTS:
                raise TurnInterrupted(
                    f"programs died {request.attempts} times in the middle of request"
                    f" {request.id!r} of session {key!r}: it is not tried again"
                )
        length = self._length_of(key)
        if await self._save(lambda: store.note_attempt(request.id, length)):
            reply = await self._ask(key, request.chat, request.trace)
            await self._save(lambda: store.finish(request.id, reply, None))

    async def _save(self, save: Callable[[], bool]) -> bool:
        """Save a change of a request, as soon as the disk allows it, and return the result."""
        while True:
            try:
                return await asyncio.to_thread(save)
            except SessionStorageError as error:
                self._log.warning("A durable request is saved again in {:g} s: {}", _PAUSE, error)
            await asyncio.sleep(_PAUSE)
