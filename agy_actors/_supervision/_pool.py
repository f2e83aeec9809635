"""`Pool`: a supervisor whose children are alike, and that gives each turn to one of them.

A turn waits in the pool's mailbox until the router has a member for it (and, for some
routings, in that member's slot, a few ahead). A member has one turn at a time, so what waits
can go to another at any moment, and a member that dies takes at most the turn with it that it
has.

What is to be done is decided in `pool_logic`, in one pure function over the whole state. Here
messages and reports become its events, and its actions are carried out; how a turn gets to a
member and its reply to the asker is in `pool_delivery`.

Guarantees:

*   Every turn that the pool accepted is answered once: by a member, or with an error of the
    pool. `PoolState.turns` has it until then; the pool's end answers what is left.
*   The reply goes from the member's thread straight to the asker.
*   A member that ends without the pool's doing is replaced in its slot, with the same
    backoff as a restart; if that happens too often, the pool fails.
*   Of what is told, nothing is lost without a trace: it is carried out, or is a dead letter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._agent import AgentDeadError, AgentRef, AgentStartError
from agy_actors._kernel import DEFERRED, Envelope
from agy_actors._supervision import _decisions as decisions
from agy_actors._supervision import _messages as messages
from agy_actors._supervision import _pool_messages as pool_messages
from agy_actors._supervision import pool_steps as steps
from agy_actors._supervision._decisions import Backoff, Family, Limits
from agy_actors._supervision._parent import ParentActor
from agy_actors._supervision._pool_ref import PoolRef
from agy_actors._supervision._supervisor import Supervisor
from agy_actors._supervision.pool_delivery import Delivery
from agy_actors._supervision.pool_logic import decide
from agy_actors._supervision.pool_state import PoolPhase, PoolState
from agy_actors._supervision.prompt_window import PoolSize

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._supervision._children import Child

__all__ = ["Pool"]

_SCALE_EVERY = 0.1
"""Seconds between looks at what waits. Arbitrary: shorter than the start of a member."""

_DRAIN_POLL = 0.05
"""Seconds between looks at the mailbox of a pool that drains: a turn there that its asker gave up
is dropped without an event. Arbitrary: far shorter than a turn."""


class Pool(Supervisor):
    """Gives turns to agents that are alike. Made by `create_pool`."""

    stop_grace: ClassVar[float | None] = 0.0

    def __init__(
        self, message: pool_messages.CreatePool, *, name: str, backoff: Backoff, **options: Any
    ) -> None:
        self.routing = message.routing
        self.size = PoolSize(message.size)
        limits = Limits(max_restarts=message.max_restarts, within=message.within)
        super().__init__(
            name=name,
            family=Family(limits=limits, reset_after=backoff.reset_after),
            backoff=backoff,
            **options,
        )
        self._actor_ref = PoolRef(self)
        self.actor_inbox.owner = str(self)
        self.actor_inbox.capacity = message.capacity
        self._template = message
        self._state = PoolState(
            name,
            size=message.size,
            routing=message.routing,
            limits=limits,
            max_size=message.max_size,
            shrink_after=message.shrink_after,
        )
        self._events: deque[steps.Event] = deque()
        self._deciding = False
        self._member_names: dict[str, str] = {}
        """The members' names by their URNs."""
        self._delivery = Delivery(
            decide=self._decide,
            report=self.report_soon,
            reject=self._reject,
            lose=self._drop_told,
            now=lambda: self._loop.time(),  # noqa: PLW0108 (there is no loop yet)
        )

    def __str__(self) -> str:
        return f"pool {self.name!r}" if hasattr(self, "name") else super().__str__()

    # Its life.

    def on_start(self) -> None:
        ParentActor.on_start(self)  # And not the supervisor's: it is not ready yet.
        self.open_turns(open=False)
        self._decide(steps.Began(self._loop.time()))
        if self._template.max_size is not None:
            self._do(self._tick())

    async def on_stop(self) -> None:  # type: ignore[override] # the kernel awaits it
        await self._end_all()
        self._decide(steps.Ended())  # While there are subscribers to tell of dead letters.
        await super().on_stop()

    def _after_loop(self) -> None:
        super()._after_loop()
        # A pool that did not stop in good order may have turns yet.
        for action in decide(self._state, steps.Ended()):
            if isinstance(action, steps.RejectTurn):
                self._delivery.reject(action.turn)

    def dead_error(self) -> Exception:
        why = "" if self.error is None else f": {self.error}"
        error = AgentDeadError(f"{self} has ended{why}")
        error.__cause__ = self._cause
        return error

    # Decisions.

    def _decide(self, event: steps.Event) -> None:
        """Have something happen to the pool, and carry out what follows."""
        self._events.append(event)
        if self._deciding:
            return  # It is an action that caused the event. The others come first.
        self._deciding = True
        try:
            while self._events:
                for action in decide(self._state, self._events.popleft()):
                    self._act(action)
        finally:
            self._deciding = False
        self.size.update(len(self._state.slots))

    def _act(self, action: steps.Action) -> None:
        match action:
            case steps.StartMember(member):
                self._start_member(member)
            case steps.DelayStart():
                self._delay_start(action)
            case steps.EndMember(member):
                if member in self._children:
                    self._end_child(self._children[member])
            case steps.SetLane(is_open):
                self.open_turns(open=is_open)
            case steps.Settle(request, error):
                _settle(request, error)
            case steps.Ready():
                reporter = self._place.reporter
                assert reporter is not None
                reporter.ready(self)
            case steps.FailPool(why):
                self._fail_as_a_whole(why)
            case _:
                self._delivery.carry_out(action, self._child_ref)

    def _child_ref(self, name: str) -> AgentRef | None:
        child = self._children.get(name)
        return child.ref if child is not None and isinstance(child.ref, AgentRef) else None

    # Members.

    def _start_member(self, name: str) -> None:
        message = messages.create_member(self._template, name)
        try:
            child = self._make_agent(name, message, None)
        except Exception as error:  # noqa: BLE001 (whatever it is: it did not start)
            failed = error
            if not isinstance(error, AgentStartError):
                failed = AgentStartError(
                    f"agent {name!r} did not start: {type(error).__name__}: {error}"
                )
                failed.__cause__ = error
            self._decide(steps.Gone(name, failed, self._loop.time()))
            return
        self._member_names[child.ref.actor_urn] = name
        self._add(child)

    def _delay_start(self, action: steps.DelayStart) -> None:
        try:
            delay = self._backoff.delay(action.failures)
        except Exception as error:  # noqa: BLE001 (a wait is the user's own function)
            self._fail_as_a_whole(f"its backoff raised {type(error).__name__}: {error}")
            return
        delay = max(delay, action.at_least)
        self._log.warning("A member is to be started in {:.2f} s, in the place of one", delay)
        self._do(self._start_late(action, delay))

    async def _start_late(self, action: steps.DelayStart, delay: float) -> None:
        await asyncio.sleep(delay)
        self._decide(steps.BackoffOver(action.number, action.token))

    def _feed(self, event: decisions.Event) -> None:
        super()._feed(event)
        match event:
            case decisions.CameUp(name):
                member, ref = self._family.find(name), self._child_ref(name)
                up = member is not None and member.phase is decisions.Phase.UP
                if up and ref is not None and not ref.actor_inbox.closed:
                    self._decide(steps.CameUp(name, self._loop.time()))
            case decisions.Failed(name) | decisions.Renewed(name) | decisions.Left(name):
                self._decide(steps.WentDown(name))
            case decisions.Halt():
                for name in list(self._children):
                    self._decide(steps.WentDown(name))

    def _forget(self, child: Child, error: Exception | None) -> None:
        is_new = not child.ended.done()
        super()._forget(child, error)
        if is_new:
            self._member_names.pop(child.ref.actor_urn, None)
            if error is not None and self._all_ended is None:
                self._log.warning("A member has ended: {}", type(error).__name__)
            by_turn = child.crashed_turn is not None
            self._decide(steps.Gone(child.name, error, self._loop.time(), by_turn))

    def _fail_as_a_whole(self, why: str | Exception) -> None:
        if isinstance(why, Exception):
            self.error = self._cause = why  # Its creator is told.
        else:
            self.error = self._cause = AgentDeadError(why)
            self._log.error("Pool given up: {}", why)
        self._end_with_all(drain=False)

    # Turns.

    def _take_job(self, job: pool_messages.Job) -> object:
        # What is told may come bare, without an envelope.
        envelope = self._handling if isinstance(self._handling, Envelope) else Envelope(job)
        names = (self._member_names.get(frame.urn) for frame in envelope.frames)
        waiting = frozenset(name for name in names if name is not None)
        self._delivery.accept(job, envelope, waiting)
        return DEFERRED

    # Size.

    async def _resize(self, message: pool_messages.Resize) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._decide(steps.Resized(done, message.size, self._loop.time()))
        await done

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(_SCALE_EVERY, self._template.shrink_after / 2))
            self._decide(steps.Tick(self.actor_inbox.turns_waiting, self._loop.time()))

    # Ending.

    def _end_with_all(self, *, drain: bool) -> None:
        if not drain:
            super()._end_with_all(drain=False)
            return
        # A stop would refuse the turns in the mailbox: it comes after them.
        end = self._end_all(drain=True)
        end.add_done_callback(lambda _: super(Pool, self)._end_with_all(drain=True))

    def _end_all(self, *, drain: bool = False) -> asyncio.Task[None]:
        if self._all_ended is None:
            drain = drain or self._drain_children
            self._decide(steps.Ending(drain=drain))
            if drain:
                left = self.actor_inbox.close(
                    self._make_dead_error, keep_turns=True, take_stops=True
                )
                self._reject(left)
        return super()._end_all(drain=drain)

    async def _end_children(self) -> None:
        if self._state.phase is PoolPhase.DRAINING:
            await self._finish_turns()
            self._decide(steps.Ending(drain=False))
        await super()._end_children()

    async def _finish_turns(self) -> None:
        """Wait until the turns are answered, for as long as a member may take to end."""
        stop_timeout = messages.create_member(self._template, "").stop_timeout
        deadline = self._loop.time() + stop_timeout
        while self._state.turns or self.actor_inbox.turns_waiting:
            if self._state.phase is PoolPhase.ENDED:
                return  # There is no member left.
            if self._loop.time() >= deadline:
                self._log.warning("Pool is not done; its turns are cancelled")
                self._drain_children = False
                return
            await asyncio.sleep(_DRAIN_POLL)

    # What it tells.

    def _get_members(self, _: pool_messages.GetMembers) -> list[AgentRef]:
        slots = self._state.slots
        refs = [self._child_ref(slots[number].member or "") for number in sorted(slots)]
        return [ref for ref in refs if ref is not None]

    def _get_statistics(self, _: pool_messages.GetPoolStatistics) -> pool_messages.PoolStatistics:
        state = self._state
        return pool_messages.PoolStatistics(
            name=self.name,
            size=len(state.slots),
            busy=sum(slot.busy for slot in state.slots.values()),
            waiting=self.actor_inbox.turns_waiting + state.queued,
            replaced=state.replaced,
        )

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        kind: handler
        for kind, handler in Supervisor.HANDLERS.items()
        if kind not in (messages.CreateAgent, messages.CreateSupervisor)
    } | {
        pool_messages.Job: _take_job,
        pool_messages.NestedJob: _take_job,
        pool_messages.Resize: _resize,
        pool_messages.GetMembers: _get_members,
        pool_messages.GetPoolStatistics: _get_statistics,
    }
    """What answers each type of message."""


def _settle(request: object, error: Exception | None) -> None:
    """Answer a request for another size."""
    assert isinstance(request, asyncio.Future)
    if request.done():
        return  # Whoever asked has gone.
    if error is None:
        request.set_result(None)
    else:
        request.set_exception(error)
