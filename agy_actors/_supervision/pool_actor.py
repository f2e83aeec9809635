"""`PoolActor`: an actor that has identical members, and gives each turn to one of them.

A turn is a message for a member, in either lane.

A turn waits in the pool's mailbox until the router has a member for it (and, for some routings, in
that member's slot, a few ahead). A member has one turn at a time, so a waiting turn can go to
another member at any moment, and the end of a member interrupts at most its current turn.

`pool_logic`, a pure function over the whole state, decides what to do. This actor passes messages
and reports to it as events, and carries out its actions. `pool_delivery` sends a turn to a member,
and the reply to the asker.

Guarantees:

*   Every accepted turn is answered once: by a member, or with an error of the pool. Until then it
    is in `PoolState.turns`; the pool's end answers the remaining turns.
*   The reply goes from the member's thread directly to the asker.
*   A member that ends, although the pool did not end it, is replaced in its slot, with the same
    backoff as a restart; if that happens too often, the pool fails.
*   A message that was told is either handled or reported as a dead letter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.envelope import Envelope
from agy_actors._actors.message import DEFERRED
from agy_actors._supervision import pool_messages, restart_steps
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision.child_observer import ChildObserver
from agy_actors._supervision.family import Family
from agy_actors._supervision.owner_actor import OwnerActor
from agy_actors._supervision.pool_delivery import Delivery
from agy_actors._supervision.pool_logic import decide
from agy_actors._supervision.pool_needs import need_of_any, need_of_turn
from agy_actors._supervision.pool_size import PoolSize
from agy_actors._supervision.pool_state import PoolPhase, PoolState
from agy_actors._supervision.restart_policy import Backoff, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.deadlock import Need
    from agy_actors._actors.message import Message
    from agy_actors._supervision.child import Child
    from agy_actors._supervision.member_kind import MemberKind
    from agy_actors._supervision.pool_options import PoolOptions
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["PoolActor"]

_SCALE_EVERY = 0.1
"""Seconds between checks of the waiting turns. Arbitrary: shorter than the start of a member."""

_DRAIN_POLL = 0.05
"""Seconds between checks of the mailbox of a pool that drains: if the asker of a turn there gives
up, the turn is dropped without an event. Arbitrary: far shorter than a turn."""

_OF_MEMBERS = (steps.Lost, steps.MemberEnded, steps.MemberReady, steps.MemberDown)
"""Events after which turns may become blocked or unblocked."""


class PoolActor(OwnerActor):
    """Gives turns to identical members.

    Args:
        message: the message that creates it.
        kind: the properties of the members and their work.
        name: its name under the supervisor above.
        backoff: how long to wait before a member is replaced.
        hang_timeout: as of `OwnerActor`.
        context: the objects that it shares with the supervisor above.
        handlers: as of `OwnerActor`.
    """

    noun: ClassVar[str] = "pool"

    def __init__(
        self,
        message: PoolOptions,
        kind: MemberKind,
        *,
        name: str,
        backoff: Backoff,
        hang_timeout: float | None,
        context: SupervisorContext,
        handlers: Mapping[type, Callable[[Any, Any], Any]],
    ) -> None:
        self.routing = message.routing
        self.size = PoolSize(message.size)
        limits = Limits(max_restarts=message.max_restarts, within=message.within)
        super().__init__(
            name=name,
            family=Family(limits=limits, reset_after=backoff.reset_after),
            backoff=backoff,
            hang_timeout=hang_timeout,
            context=context,
            handlers={**handlers, **_HANDLERS},
            observer=ChildObserver(
                on_event=self._note_member_event,
                on_forgotten=self._note_member_gone,
                before_end=self._begin_end,
                finish_work=self._finish_turns,
                turns_move=lambda: not self.lifecycle.is_ending,
                drains_before_stop=True,  # A stop would refuse the turns in the mailbox.
            ),
        )
        self.actor_inbox.capacity = message.capacity
        self._options = message
        self._kind = kind
        self._state = PoolState(
            name,
            size=message.size,
            routing=message.routing,
            limits=limits,
            max_size=message.max_size,
            shrink_after=message.shrink_after,
            dead_error=kind.dead_error,
            start_error=kind.start_error,
        )
        self._deadlines = kind.make_deadlines(
            self._state,
            self.actor_inbox,
            lambda turn, error: self._decide(steps.Overdue(turn, error)),
        )
        self._events: deque[steps.Event] = deque()
        self._deciding = False
        self._delivery = Delivery(
            kind,
            decide=self._decide,
            report=self.lifecycle.order,
            reject=self._reject,
            lose=self.drop_told,
            now=lambda: self._loop.time(),  # noqa: PLW0108 (there is no loop yet)
            find_need=lambda turn: need_of_turn(self._state, turn, self._child_ref, kind.a_turn),
        )

    @property
    def turns_queued(self) -> int:
        return self.actor_inbox.turns_waiting + self._state.queued

    def need_of_any_turn(self) -> Need:
        """Return the need of a turn that is not taken up. Callable from any thread."""
        return need_of_any(self._state, self._child_ref, self._kind.a_turn)

    # Its life.

    def on_start(self) -> None:
        super().on_start()
        self._messages.open_turns(open=False)
        self._decide(steps.Began(self._loop.time()))
        if self._options.max_size is not None:
            self.lifecycle.background.start("scaling", self._tick)

    async def on_stop(self) -> None:  # type: ignore[override] # or async
        await self.lifecycle.end_all()
        self._decide(steps.Ended())  # While there are subscribers that learn of dead letters.
        await super().on_stop()

    def _after_loop(self) -> None:
        super()._after_loop()
        # If the pool crashed, turns may be left.
        for action in decide(self._state, steps.Ended()):
            if isinstance(action, steps.RejectTurn):
                self._delivery.reject(action.turn)

    def dead_error(self) -> Exception:
        why = "" if self._failed_with is None else f": {self._failed_with}"
        error = self._kind.dead_error(f"{self} has ended{why}")
        error.__cause__ = self._cause
        return error

    # Decisions.

    def _decide(self, event: steps.Event) -> None:
        """Decide on the actions for an event, and carry them out."""
        self._events.append(event)
        if self._deciding:
            return  # An action caused the event. The other actions come first.
        self._deciding = True
        errors: list[Exception] = []
        members_changed = False
        try:
            while self._events:
                event = self._events.popleft()
                for action in decide(self._state, event):
                    try:
                        self._act(action)
                    except Exception as error:  # noqa: BLE001 (raised after the others)
                        errors.append(error)
                if isinstance(event, steps.Lost):
                    self._deadlines.note_lost(event.turn)
                members_changed = members_changed or isinstance(event, _OF_MEMBERS)
        finally:
            self._deciding = False
        if members_changed:
            self._deadlines.look(self._loop)
        self.size.update(len(self._state.slots))
        if errors:
            raise errors[0]

    def _act(self, action: steps.Action) -> None:
        match action:
            case steps.StartMember(member):
                self._start_member(member)
            case steps.DelayStart():
                self._delay_start(action)
            case steps.EndMember(member):
                child = self.lifecycle.children.get(member)
                if child is not None:
                    self.lifecycle.end(child)
            case steps.SetLane(is_open):
                self._messages.open_turns(open=is_open)
            case steps.AnswerResize(request, error):
                _answer_request(request, error)
            case steps.Ready():
                above = self.context.reporter
                assert above is not None
                above.ready(self)
            case steps.FailPool(why):
                self._fail_as_a_whole(why)
            case _:
                self._delivery.carry_out(action, self._child_ref)

    def _child_ref(self, name: str) -> AsyncioActorRef | None:
        child = self.lifecycle.children.get(name)
        return None if child is None else child.ref

    # Members.

    def _start_member(self, name: str) -> None:
        kind = self._kind
        try:
            child = kind.make(self, name)
        except Exception as error:  # noqa: BLE001 (after any error, it did not start)
            failed = error
            if not isinstance(error, kind.start_error):
                failed = kind.start_error(
                    f"{kind.noun} {name!r} did not start: {type(error).__name__}: {error}"
                )
                failed.__cause__ = error
            self._decide(steps.MemberEnded(name, failed, self._loop.time()))
            return
        self.lifecycle.add(child)

    def _delay_start(self, action: steps.DelayStart) -> None:
        try:
            delay = self.lifecycle.backoff.delay(action.failures)
        except Exception as error:  # noqa: BLE001 (a wait is the user's own function)
            self._fail_as_a_whole(f"its backoff raised {type(error).__name__}: {error}")
            return
        delay = max(delay, action.at_least)
        self._log.warning("A member is to be started in {:.2f} s, in the place of one", delay)
        self.lifecycle.background.start(
            "the start of a member", lambda: self._start_late(action, delay)
        )

    async def _start_late(self, action: steps.DelayStart, delay: float) -> None:
        await asyncio.sleep(delay)
        self._decide(steps.BackoffOver(action.number, action.token))

    def _note_member_event(self, event: restart_steps.Event) -> None:
        """Pass on an event of a member."""
        match event:
            case restart_steps.BecameReady(name):
                ref = self._child_ref(name)
                if self.lifecycle.is_up(name) and ref is not None and not ref.actor_inbox.closed:
                    self._decide(steps.MemberReady(name, self._loop.time()))
            case (
                restart_steps.Failed(name)
                | restart_steps.Renewed(name)
                | restart_steps.RestartAsked(name)
                | restart_steps.Leaving(name)
            ):
                self._decide(steps.MemberDown(name))
            case restart_steps.Halt():
                for name in list(self.lifecycle.children):
                    self._decide(steps.MemberDown(name))

    def _note_member_gone(self, child: Child, error: Exception | None) -> None:
        """Note that a member has ended completely."""
        if error is not None and not self.lifecycle.is_ending:
            self._log.warning("A member has ended: {}", type(error).__name__)
        by_turn = child.crashed_turn is not None
        self._decide(steps.MemberEnded(child.name, error, self._loop.time(), by_turn))

    def _fail_as_a_whole(self, why: str | Exception) -> None:
        if isinstance(why, Exception):
            self._failed_with = self._cause = why  # Its creator gets it.
        else:
            self._failed_with = self._cause = self._kind.dead_error(why)
            self._log.error("Pool given up: {}", why)
        self.lifecycle.stop(drain=False)

    # Turns.

    def _take_job(self, job: pool_messages.Job) -> object:
        # A told message may come without an envelope.
        handled = self._messages.handling
        envelope = handled if isinstance(handled, Envelope) else Envelope(job)
        names = (self.lifecycle.names.get(frame.urn) for frame in envelope.frames)
        waiting = frozenset(name for name in names if name is not None)
        self._delivery.accept(job, envelope, waiting)
        self._deadlines.look_soon(self._loop)
        return DEFERRED

    def _on_turns_held(self) -> None:
        self._deadlines.look_soon(self._loop)

    # Size.

    async def _resize(self, message: pool_messages.Resize) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._decide(steps.Resized(done, message.size, self._loop.time()))
        try:
            await done
        finally:
            if done.cancelled():
                self._decide(steps.ResizeAbandoned(done))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(_SCALE_EVERY, self._options.shrink_after / 2))
            self._decide(steps.Tick(self.actor_inbox.turns_waiting, self._loop.time()))

    # Ending.

    def _begin_end(self, *, drain: bool) -> None:
        """Begin to end: no new turn is accepted."""
        self._decide(steps.Ending(drain=drain))
        if drain:
            left = self.actor_inbox.close(
                self._answers.make_dead_error, keep_turns=True, take_stops=True
            )
            self._reject(left)

    async def _finish_turns(self) -> None:
        """Wait until all turns are answered, at most for the time that a member gets to end."""
        if self._state.phase is not PoolPhase.DRAINING:
            return
        deadline = self._loop.time() + self._kind.stop_timeout
        while self._state.turns or self.actor_inbox.turns_waiting:
            phase: PoolPhase = self._state.phase
            if phase is PoolPhase.ENDED or not self.lifecycle.drains:
                break  # No member or no time is left.
            if self._loop.time() >= deadline:
                self._log.warning("Pool is not done; its turns are cancelled")
                self.lifecycle.end_drain()
                break
            await asyncio.sleep(_DRAIN_POLL)
        self._decide(steps.Ending(drain=False))

    # Queries.

    def get_members(self, _: Message[Any]) -> list[Any]:
        """Return the refs of the members, in the order of their slots."""
        slots = self._state.slots
        refs = [self._child_ref(slots[number].member or "") for number in sorted(slots)]
        return [ref for ref in refs if ref is not None]

    def _get_pool_statistics(
        self, _: pool_messages.GetPoolStatistics
    ) -> pool_messages.PoolStatistics:
        state = self._state
        return pool_messages.PoolStatistics(
            name=self.name,
            size=len(state.slots),
            busy=sum(slot.busy for slot in state.slots.values()),
            waiting=self.turns_queued,
            replaced=state.replaced,
        )

    def kind_of(self, message: object) -> str:
        inner = message.message if isinstance(message, pool_messages.Job) else message
        return super().kind_of(inner)


_HANDLERS: dict[type, Callable[[Any, Any], Any]] = {
    pool_messages.Job: PoolActor._take_job,  # noqa: SLF001 (this module's own)
    pool_messages.NestedJob: PoolActor._take_job,  # noqa: SLF001
    pool_messages.Resize: PoolActor._resize,  # noqa: SLF001
    pool_messages.GetPoolMembers: PoolActor.get_members,
    pool_messages.GetPoolStatistics: PoolActor._get_pool_statistics,  # noqa: SLF001
}
"""The methods that answer a pool's other messages, by the type of the message."""


def _answer_request(request: object, error: Exception | None) -> None:
    """Answer a request for another size."""
    assert isinstance(request, asyncio.Future)
    if request.done():
        return  # The asker has stopped waiting.
    if error is None:
        request.set_result(None)
    else:
        request.set_exception(error)
