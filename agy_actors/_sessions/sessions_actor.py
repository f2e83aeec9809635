"""`SessionsActor`: an actor that has one agent for each key that is in use.

It is a pool whose members are chosen by key, and which come and go: `sessions_logic`, a pure
function over the whole state, decides which sessions wake and sleep, and which turn an agent gets.
This actor passes messages and reports to it as events, and carries out its actions. The delivery of
turns and replies is that of pools.

Guarantees:

*   Every accepted turn is answered once: by its agent, or with an error of the sessions.
*   The lock of a conversation is held from before its files are unpacked until they are packed. So
    no two programs have it open, and none opens it in between.
*   An error of one session ends no other one.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.envelope import Envelope
from agy_actors._actors.message import DEFERRED
from agy_actors._sdk.errors import AgentDeadError, TurnTimeout
from agy_actors._sessions import sessions_messages as messages
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.awake_agents import AwakeAgents
from agy_actors._sessions.request_runner import RequestRunner
from agy_actors._sessions.session_agents import STOP_TIMEOUT, SessionAgents
from agy_actors._sessions.session_files import explain_storage
from agy_actors._sessions.session_questions import answer_question
from agy_actors._sessions.session_turns import SessionTurns
from agy_actors._sessions.sessions_logic import decide
from agy_actors._sessions.sessions_needs import need_of_key
from agy_actors._sessions.sessions_ref import Sessions
from agy_actors._sessions.sessions_state import SessionsPhase, SessionsState
from agy_actors._sessions.sessions_storage import SessionsStorage
from agy_actors._supervision import pool_messages, pool_steps
from agy_actors._supervision.child_observer import ChildObserver
from agy_actors._supervision.family import Family
from agy_actors._supervision.owner_actor import OwnerActor
from agy_actors._supervision.restart_policy import Backoff, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._sessions.session_events import SessionEvent
    from agy_actors._sessions.sessions_creation import CreateSessions
    from agy_actors._sessions.stored_request import StoredRequest
    from agy_actors._supervision.owner_ref import OwnerRef
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["SessionsActor"]

_LOOK_EVERY = 0.1
"""Seconds between two looks at the requests of other programs, and at turns that wait. Ten times a
second at most: more would cost processor time, less would delay a handover."""

_WRITE_EVERY = 1.0
"""Seconds between two writes of the facts about awake sessions. Arbitrary: a program that dies
loses no more than that from the index."""


class SessionsActor(OwnerActor):
    """Gives turns to the agents of their keys.

    Args:
        message: the message that creates it.
        folder: the folder of the sessions.
        name: its name under the supervisor above.
        backoff: how long to wait before an agent is restarted.
        hang_timeout: as of `OwnerActor`.
        context: the objects that it shares with the supervisor above.
        handlers: as of `OwnerActor`.
    """

    noun: ClassVar[str] = "sessions"
    _ref_type: ClassVar[type[OwnerRef]] = Sessions

    def __init__(
        self,
        message: CreateSessions,
        folder: Path,
        *,
        name: str,
        backoff: Backoff,
        hang_timeout: float | None,
        context: SupervisorContext,
        handlers: Mapping[type, Callable[[Any, Any], Any]],
    ) -> None:
        self.state = SessionsState(
            name,
            max_awake=message.max_awake,
            idle_timeout=message.idle_timeout,
            dead_error=AgentDeadError,
            timeout_error=TurnTimeout,
        )
        self.durable: bool = context.kinds.shared.durable
        """Whether the sessions outlive the program."""
        self._kind = SessionAgents(message, folder, context.kinds.shared.budgets)
        self._agents = AwakeAgents(
            self,
            self._kind,
            files=lambda: self._files,
            decide=self._decide,
            publish=self._publish,
        )
        limits = Limits(max_restarts=message.max_restarts, within=message.within)
        super().__init__(
            name=name,
            family=Family(limits=limits, reset_after=backoff.reset_after),
            backoff=backoff,
            hang_timeout=hang_timeout,
            context=context,
            handlers={**handlers, **_HANDLERS},
            observer=ChildObserver(
                on_event=self._agents.note_event,
                on_forgotten=self._agents.note_gone,
                before_end=self._begin_end,
                finish_work=self._finish_turns,
                drains_before_stop=True,  # A stop would refuse the turns in the mailbox.
            ),
        )
        self.folder = folder
        self.capacity = message.capacity
        self.actor_inbox.capacity = message.capacity
        self.storage: SessionsStorage | None = None
        """Its files, while it runs."""
        self._events: deque[steps.Event] = deque()
        self._deciding = False
        self._timer: asyncio.TimerHandle | None = None
        self._turns = SessionTurns(
            self._kind,
            decide=self._decide,
            files=lambda: self._files,
            report=self.lifecycle.order,
            reject=self._reject,
            lose=self.drop_told,
            now=lambda: self._loop.time(),  # noqa: PLW0108 (there is no loop yet)
            find_need=self.need_of,
        )
        self._runner = RequestRunner(
            folder,
            ask=self._turns.ask_patiently,
            length_of=lambda key: self._files.length_of(key),  # noqa: PLW0108 (opened later)
            is_ending=lambda: self.state.phase is not SessionsPhase.UP,
            budgets=self._kind.budgets,
            limit=message.max_awake,
            keep_results=message.keep_results,
            now=self._runtime.time,
            log=self._log,
        )

    @property
    def turns_queued(self) -> int:
        return self.actor_inbox.turns_waiting + self.state.waiting

    def need_of(self, key: str, message: Message[Any]) -> Need:
        """Return the need of a message for a session. Callable from any thread."""
        return need_of_key(self.state, key, message, self._agents.ref, self._kind.a_turn)

    def check_config(self) -> None:
        """Refuse an invalid configuration.

        Raises:
            InvalidConfig: names the argument, and valid values.
        """
        self._kind.check(self, self.name)

    # Its life.

    def on_start(self) -> None:
        super().on_start()
        try:
            self.storage = SessionsStorage(self.folder)
        except Exception as error:  # noqa: BLE001 (the creator gets any error)
            self._failed_with = self._cause = explain_storage(error)
            self.lifecycle.stop(drain=False)
            return
        self.lifecycle.background.start("writing the index", self._write_facts)
        if self.durable:
            self.lifecycle.background.start(
                "durable requests",
                lambda: self._runner.run(lambda: self._files.requests(make=False)),
            )
        above = self.context.reporter
        assert above is not None
        above.ready(self)

    def _report_ready(self) -> None:
        """Report nothing more: `on_start` has done it."""

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"{self} have ended")
        error.__cause__ = self._cause
        return error

    async def on_stop(self) -> None:  # type: ignore[override] # or async
        await self._runner.stop()
        await self.lifecycle.end_all()
        self._decide(steps.Ended())  # While there are subscribers that learn of dead letters.
        await super().on_stop()

    def _after_loop(self) -> None:
        # If the actor crashed, turns may be left.
        for action in decide(self.state, steps.Ended(), 0.0):
            if isinstance(action, pool_steps.RejectTurn):
                self._turns.reject(action.turn)
        storage, self.storage = self.storage, None
        if storage is not None:
            storage.close()
        super()._after_loop()

    # Decisions.

    def _decide(self, event: steps.Event) -> None:
        """Decide on the actions for an event, and carry them out."""
        if self.storage is not None:
            ids = self._agents.keys_by_id
            self._events.extend(self.storage.others.look_before(event, self.state.keys, ids))
        self._events.append(event)
        if self._deciding:
            return  # An action caused the event. The other actions come first.
        self._deciding = True
        try:
            while self._events:
                for action in decide(self.state, self._events.popleft(), self._loop.time()):
                    # The error of one session must not go to the cause of the event.
                    self.lifecycle.background.attempt(
                        f"{type(action).__name__} of sessions", functools.partial(self._act, action)
                    )
        finally:
            self._deciding = False
        self.actor_inbox.capacity = max(0, self.capacity - self.state.waiting)
        self._look_later()

    def _act(self, action: steps.Action) -> None:
        match action:
            case steps.StartAgent(key):
                self._agents.start(key)
            case steps.EndAgent(key):
                self._agents.end(key, handed_over=action.handed_over)
            case steps.AskOwner(key):
                self._log.debug("Session {!r} is open in another program", key)
                self._files.others.ask_for(key)
            case steps.StopAsking(key):
                self._files.others.clear(key)
            case steps.RemoveFiles(key):
                self.lifecycle.background.start(
                    f"deleting session {key!r}", lambda: self._remove_files(key)
                )
            case steps.AnswerRequest(request, error):
                _answer(request, error)
            case _:
                self._turns.carry_out(action, self._agents.ref)

    def _publish(self, kind: type[SessionEvent], key: str) -> None:
        if self._hub.active:
            self._hub.publish(kind(supervisor=self.name, key=key))

    @property
    def _files(self) -> SessionsStorage:
        assert self.storage is not None
        return self.storage

    # Time.

    def _look_later(self) -> None:
        if self._timer is None and self.state.keys:
            self._timer = self._loop.call_later(_LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Look at the clock, and at other programs."""
        self._timer = None
        self.lifecycle.background.attempt("the look at other programs", self._look_at_others)
        self._decide(steps.Ticked())

    def _look_at_others(self) -> None:
        if self.storage is not None:
            for event in self.storage.others.look(self._agents.keys_by_id, self.state.elsewhere):
                self._decide(event)

    async def _write_facts(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_EVERY)
            storage = self.storage
            if storage is not None and self.state.keys:
                await asyncio.to_thread(storage.write)

    # Turns.

    def _take_job(self, job: pool_messages.Job) -> object:
        # A told message may come without an envelope.
        handled = self._messages.handling
        self._turns.accept(job, handled if isinstance(handled, Envelope) else Envelope(job))
        return DEFERRED

    async def _ask_agent(self, question: messages.Question) -> Any:
        return await answer_question(question, self.state, self._turns)

    # Requests.

    async def _wake(self, message: messages.WakeSession) -> None:
        await self._request(lambda done: steps.WakeAsked(done, message.key, message.seconds))

    async def _sleep(self, message: messages.SleepSession) -> None:
        await self._request(lambda done: steps.SleepAsked(done, message.key))

    async def _delete(self, message: messages.DeleteSession) -> bool:
        existed = self._files.info(message.key) is not None
        await asyncio.to_thread(self._files.cancel_requests, message.key)
        await self._request(lambda done: steps.DeleteAsked(done, message.key))
        return existed

    async def _request(self, make: Callable[[asyncio.Future[None]], steps.Event]) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._decide(make(done))
        await done

    async def _remove_files(self, key: str) -> None:
        self._decide(await self._files.remove(key, self._kind.app_data_dir(key)))

    # Durable requests.

    async def _wait_for_request(self, message: messages.WaitForRequest) -> StoredRequest | None:
        requests = self._files.requests(make=True)
        return None if requests is None else await self._runner.wait_for(message.id, requests)

    # Ending.

    def _begin_end(self, *, drain: bool) -> None:
        """Begin to end: no new turn is accepted."""
        self._decide(steps.Ending(drain=drain))
        if drain:
            inbox, make_error = self.actor_inbox, self._answers.make_dead_error
            self._reject(inbox.close(make_error, keep_turns=True, take_stops=True))

    async def _finish_turns(self) -> None:
        """Wait until all turns are answered, at most for the time that an agent gets to end."""
        if self.state.phase is not SessionsPhase.DRAINING:
            return
        deadline = self._loop.time() + STOP_TIMEOUT
        while self.state.turns or self.actor_inbox.turns_waiting or self._runner.busy:
            if not self.lifecycle.drains:
                break  # No time is left.
            if self._loop.time() >= deadline:
                self._log.warning("The sessions are not done; their turns are cancelled")
                self.lifecycle.end_drain()
                break
            await asyncio.sleep(_LOOK_EVERY / 2)
        self._decide(steps.Ending(drain=False))

    # Queries.

    def _statistics(self, _: messages.GetSessionsStatistics) -> messages.SessionsStatistics:
        state = self.state
        return messages.SessionsStatistics(
            name=self.name,
            sessions=len(self._files.index),
            awake=state.awake,
            busy=sum(key.running is not None for key in state.keys.values()),
            waiting=self.turns_queued,
            elsewhere=len(state.elsewhere),
            woken=self._agents.woken,
            slept=self._agents.slept,
            handed_over=self._agents.handed_over,
        )

    def kind_of(self, message: object) -> str:
        inner = message.message if isinstance(message, pool_messages.Job) else message
        return super().kind_of(inner)


_HANDLERS: dict[type, Callable[[Any, Any], Any]] = {
    pool_messages.Job: SessionsActor._take_job,  # noqa: SLF001 (this module's own)
    pool_messages.NestedJob: SessionsActor._take_job,  # noqa: SLF001
    messages.Question: SessionsActor._ask_agent,  # noqa: SLF001
    messages.WaitForRequest: SessionsActor._wait_for_request,  # noqa: SLF001
    messages.LookForRequests: lambda actor, _: actor._runner.look(),  # noqa: SLF001
    messages.WakeSession: SessionsActor._wake,  # noqa: SLF001
    messages.SleepSession: SessionsActor._sleep,  # noqa: SLF001
    messages.DeleteSession: SessionsActor._delete,  # noqa: SLF001
    messages.GetSessionsStatistics: SessionsActor._statistics,  # noqa: SLF001
}
"""The methods that answer the other messages of sessions, by the type of the message."""


def _answer(request: object, error: Exception | None) -> None:
    assert isinstance(request, asyncio.Future)
    if request.done():
        return  # The asker has stopped waiting.
    if error is None:
        request.set_result(None)
    else:
        request.set_exception(error)
