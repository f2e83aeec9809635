"""`Pool`: a supervisor whose children are alike, and that gives each turn to one of them.

A turn waits in the pool's mailbox until the router has a member for it (and, for some
routings, in that member's place in the pool, a few ahead). A member has one turn at a
time, so what waits can go to another at any moment, and a member that dies takes at most
the turn with it that it has.

Guarantees:

*   Every turn that the pool took up is answered once: by a member, or with the pool's end.
    `_jobs` holds it from the one to the other.
*   The reply goes from the member's thread straight to the asker.
*   A member that ends without the pool's doing is replaced in its place, with the same
    backoff as a restart; if that happens too often, the pool fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from agy_actors._agent import (
    AgentDeadError,
    AgentRef,
    AgentStartError,
    InvalidConfig,
    Send,
    TurnCrashes,
    WaitForIdle,
)
from agy_actors._kernel import (
    DEFERRED,
    DeadlockError,
    Envelope,
    ReplyFuture,
    check_integer,
    check_seconds,
    fail,
    resolve,
)
from agy_actors._supervision import _decisions as decisions
from agy_actors._supervision import _messages as messages
from agy_actors._supervision import _pool_messages as pool_messages
from agy_actors._supervision._decisions import Backoff, Family, Limits
from agy_actors._supervision._parent import ParentActor
from agy_actors._supervision._pool_ref import PoolRef
from agy_actors._supervision._routing import Load, Router, Routing
from agy_actors._supervision._supervisor import Supervisor

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from agy_actors._kernel import Frame
    from agy_actors._supervision._children import Child

__all__ = ["Pool", "check_pool"]

_AHEAD = 16
"""Turns that wait for one place in the pool before no more are taken from the mailbox.
Arbitrary: enough that one slow member does not hold up the others' work at once."""

_SCALE_EVERY = 0.1
"""Seconds between looks at what waits. Arbitrary: shorter than the start of a member."""

_MOST_MOVES = 3
"""Members that a turn may outlive before it is answered with their death: it may be the
turn that kills them. As the default attempts of a `RetryPolicy`."""


@dataclasses.dataclass(eq=False)
class _Work:
    """A turn that the pool took up."""

    message: Any
    reply_to: pykka.Future[Any] | None
    frames: tuple[Frame, ...]
    key: str | None
    context: contextvars.Context | None
    crashes: TurnCrashes = dataclasses.field(default_factory=TurnCrashes)
    moves: int = 0


@dataclasses.dataclass(eq=False)
class _Seat:
    """A place in the pool, whoever has it."""

    number: int
    name: str = ""
    """The member that has it."""
    queue: deque[_Work] = dataclasses.field(default_factory=deque)
    busy: bool = False
    leaving: bool = False
    failures: tuple[float, ...] = ()
    """When members of this place had to be replaced."""
    idle_since: float = 0.0


class Pool(Supervisor):
    """Gives turns to agents that are alike. Made by `create_pool`."""

    stop_grace: ClassVar[float | None] = 0.0

    def __init__(
        self, message: pool_messages.CreatePool, *, name: str, backoff: Backoff, **options: Any
    ) -> None:
        self.routing = message.routing
        self.most = max(message.size, message.max_size or 0)
        super().__init__(
            name=name,
            family=Family(
                limits=Limits(max_restarts=message.max_restarts, within=message.within),
                reset_after=backoff.reset_after,
            ),
            backoff=backoff,
            **options,
        )
        self._actor_ref = PoolRef(self)
        self.actor_inbox.owner = str(self)
        self.actor_inbox.capacity = message.capacity
        self._template = message
        self._router = Router(message.routing)
        self._least = message.size
        self._seats: list[_Seat] = []
        self._members_made = 0
        self._replaced = 0
        self._jobs: dict[_Work, None] = {}
        self._unassigned: deque[_Work] = deque()
        """Turns for whoever is free first, that the mailbox does not hold (any more)."""

    def __str__(self) -> str:
        return f"pool {self.name!r}" if hasattr(self, "name") else super().__str__()

    # Its life.

    def on_start(self) -> None:
        ParentActor.on_start(self)  # And not the supervisor's: it is not ready yet.
        self.open_turns(open=False)
        self._do(self._come_up_whole())
        if self._template.max_size is not None:
            self._do(self._scale(self._template.max_size))

    async def _come_up_whole(self) -> None:
        reporter = self._place.reporter
        assert reporter is not None
        try:
            await self._grow(self._least)
        except Exception as error:  # noqa: BLE001 (whatever it is: it goes to the creator)
            self.error = self._cause = error
            self._end_with_all(drain=False)
            return
        reporter.ready(self)
        self._balance()

    def _after_loop(self) -> None:
        super()._after_loop()
        for work in self._jobs:
            fail(work.reply_to, self.dead_error())
        self._jobs.clear()

    def dead_error(self) -> Exception:
        why = "" if self.error is None else f": {self.error}"
        error = AgentDeadError(f"{self} has ended{why}")
        error.__cause__ = self._cause
        return error

    def _resume(self) -> None:
        super()._resume()
        self._balance()

    # Members.

    async def _grow(self, size: int) -> None:
        """Add places until there are so many, and wait until their members are up.

        Raises:
            AgentStartError: one of them did not come up.
        """
        seats = []
        for _ in range(size - len(self._staying())):
            taken = {seat.number for seat in self._seats}
            number = next(n for n in range(len(taken) + 1) if n not in taken)
            seat = _Seat(number, idle_since=self._loop.time())
            self._seats.append(seat)
            seats.append(seat)
        self._seats.sort(key=lambda seat: seat.number)
        children = [self._fill(seat) for seat in seats]
        if children:
            await asyncio.wait([child.up for child in children])
        for child in children:
            child.up.result()

    def _staying(self) -> list[_Seat]:
        return [seat for seat in self._seats if not seat.leaving]

    def _fill(self, seat: _Seat) -> Child:
        """Have a new member come up for a place."""
        self._members_made += 1
        seat.name = f"{self.name}-{self._members_made}"
        message = messages.create_member(self._template, seat.name)
        child = self._make_agent(seat.name, message, None)
        self._add(child)
        return child

    def _forget(self, child: Child, error: Exception | None) -> None:
        super()._forget(child, error)
        seat = next((seat for seat in self._seats if seat.name == child.name), None)
        if seat is None or self._all_ended is not None:
            return
        seat.busy = False
        if seat.leaving:
            self._seats.remove(seat)
        elif self._place.reporter is not None and not (
            isinstance(error, AgentStartError) and self._coming_up
        ):
            self._replace_member(seat, error)
        self._balance()

    @property
    def _coming_up(self) -> bool:
        """Whether the pool has not been up yet: then a failed start is its creator's."""
        return self._replaced == 0 and not self._turns_open

    def _replace_member(self, seat: _Seat, error: Exception | None) -> None:
        now = self._loop.time()
        self._replaced += 1
        limits = self._family.limits
        seat.failures = (*(t for t in seat.failures if t > now - limits.within), now)
        recent = sum(len([t for t in s.failures if t > now - limits.within]) for s in self._seats)
        allowed = max(1, limits.max_restarts) * len(self._seats)
        if recent > allowed:
            self._fail_as_a_whole(
                f"{recent} members had to be replaced within {limits.within:g} s,"
                f" {allowed} are allowed; last cause: {error}"
            )
            return
        seat.name = ""
        self._log.warning("A member is replaced: {}", type(error).__name__)
        self._do(self._refill(seat, self._backoff.delay(len(seat.failures))))

    async def _refill(self, seat: _Seat, delay: float) -> None:
        await asyncio.sleep(delay)
        if seat in self._seats:
            self._fill(seat)

    def _fail_as_a_whole(self, why: str) -> None:
        self.error = self._cause = AgentDeadError(why)
        self._log.error("Pool given up: {}", why)
        self._end_with_all(drain=False)

    def _feed(self, event: decisions.Event) -> None:
        super()._feed(event)
        if isinstance(event, decisions.CameUp):
            self._balance()

    # Turns.

    def _take_job(self, job: pool_messages.Job) -> object:
        envelope = self._handling
        assert isinstance(envelope, Envelope)
        work = _Work(job.message, envelope.reply_to, envelope.frames, job.key, envelope.context)
        if self.routing is Routing.BROADCAST:
            self._broadcast(work)
        else:
            self._check_for_deadlock(work)
            self._jobs[work] = None
            self._assign(work)
        self._balance()
        return DEFERRED

    def _assign(self, work: _Work, *, first: bool = False) -> None:
        seats = self._may_have(work)
        number = self._router.choose([self._load(seat) for seat in seats], work.key)
        seat = next((seat for seat in seats if seat.number == number), None)
        queue = self._unassigned if seat is None else seat.queue
        (queue.appendleft if first else queue.append)(work)

    def _may_have(self, work: _Work) -> list[_Seat]:
        """Return the places whose members do not wait for this very turn."""
        waiting = {frame.urn for frame in work.frames}
        seats = self._staying() or self._seats
        free = [seat for seat in seats if not waiting.intersection(self._urns(seat))]
        return free or seats

    def _urns(self, seat: _Seat) -> tuple[str, ...]:
        child = self._children.get(seat.name)
        return () if child is None else (child.ref.actor_urn,)

    def _check_for_deadlock(self, work: _Work) -> None:
        """Refuse a turn that only members could have that wait for it.

        Raises:
            DeadlockError: names the pool.
        """
        waiting = {frame.urn for frame in work.frames}
        seats = self._staying()
        if self.routing is Routing.CONSISTENT_HASH:
            number = self._router.choose([self._load(seat) for seat in seats], work.key)
            seats = [seat for seat in seats if seat.number == number]
        if waiting and seats and all(waiting.intersection(self._urns(seat)) for seat in seats):
            raise DeadlockError(
                f"{self} cannot take this turn: every member that could have it waits for it"
            )

    def _broadcast(self, work: _Work) -> None:
        seats = self._staying()
        parts: list[ReplyFuture[Any]] = []
        for seat in seats:
            part: ReplyFuture[Any] = ReplyFuture()
            parts.append(part)
            share = _Work(work.message, part, work.frames, None, work.context)
            self._jobs[share] = None
            seat.queue.append(share)
        left = [len(parts)]

        def collect(_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                self._loop.call_soon_threadsafe(_gather, parts, work.reply_to)

        for part in parts:
            part.add_done_callback(lambda _: self.report_soon(lambda: collect(_)))
        if isinstance(work.reply_to, ReplyFuture):
            work.reply_to.add_done_callback(lambda future: _cancel_all(future, parts))

    def _balance(self) -> None:
        """Give turns to whom they can be given to, and take more if there is room."""
        if self._all_ended is not None:
            return
        for seat in self._seats:
            if seat.leaving and not seat.busy:
                self._dismiss(seat)
        for seat in list(self._seats):
            while not seat.busy and self._is_up(seat) and (work := self._next_for(seat)):
                self._hand_over(seat, work)
        self.open_turns(open=self._has_room())

    def _next_for(self, seat: _Seat) -> _Work | None:
        if seat.queue:
            return seat.queue.popleft()
        if seat.leaving:
            return None
        mine = (work for work in self._unassigned if seat in self._may_have(work))
        work = next(mine, None)
        if work is not None:
            self._unassigned.remove(work)
        return work

    def _has_room(self) -> bool:
        seats = self._staying()
        if self.routing is Routing.SHORTEST_QUEUE:
            free = (self._is_up(seat) and not seat.busy and not seat.queue for seat in seats)
            return not self._unassigned and any(free)
        return bool(seats) and sum(len(seat.queue) for seat in seats) < _AHEAD * len(seats)

    def _is_up(self, seat: _Seat) -> bool:
        member, child = self._family.find(seat.name), self._children.get(seat.name)
        if member is None or child is None or child.ref.actor_inbox.closed:
            return False  # The last: it was ended, and its end has not been reported yet.
        return member.phase is decisions.Phase.UP

    def _load(self, seat: _Seat) -> Load:
        return Load(seat.number, len(seat.queue) + seat.busy, self._is_up(seat))

    def _hand_over(self, seat: _Seat, work: _Work) -> None:
        """Give a turn to a member."""
        reply_to = work.reply_to
        if isinstance(reply_to, ReplyFuture) and reply_to.cancelled():
            self._jobs.pop(work, None)
            return
        reply: ReplyFuture[Any] = ReplyFuture()
        member = self._children[seat.name].ref
        assert isinstance(member, AgentRef)
        seat.busy = True
        reply.add_done_callback(lambda _: self._replied(seat, member, work, reply))
        if isinstance(reply_to, ReplyFuture):
            reply_to.add_done_callback(lambda _: reply_to.cancelled() and reply.cancel())
        try:
            member.actor_inbox.put(
                Envelope(work.message, reply, work.frames, work.context, work.crashes)
            )
        except pykka.ActorDeadError as error:
            reply.fail(error)

    def _replied(self, seat: _Seat, member: AgentRef, work: _Work, reply: ReplyFuture[Any]) -> None:
        """Take a member's reply, on its thread."""
        error: BaseException | None = None
        value: Any = None
        try:
            value = reply.get(timeout=0)
        except BaseException as raised:  # noqa: BLE001 (it belongs to the asker)
            error = raised
        lost = isinstance(error, AgentDeadError) and work.moves < _MOST_MOVES
        if error is None:
            resolve(work.reply_to, value)
        elif not lost and not reply.cancelled():
            fail(work.reply_to, error)
        # A turn that was abandoned, or only sent, may run on: the member is not free yet.
        runs_on = reply.cancelled() or isinstance(work.message, Send)
        self.report_soon(lambda: self._settle_work(seat, member, work, lost=lost, wait=runs_on))

    def _settle_work(
        self, seat: _Seat, member: AgentRef, work: _Work, *, lost: bool, wait: bool
    ) -> None:
        if lost and self._all_ended is None:
            work.moves += 1
            self._assign(work, first=True)
        elif not lost:
            self._jobs.pop(work, None)
        if wait and member.is_alive():
            idle = member.ask(WaitForIdle(), block=False)
            idle.add_done_callback(lambda _: self.report_soon(lambda: self._set_free(seat, member)))
        else:
            self._set_free(seat, member)

    def _set_free(self, seat: _Seat, member: AgentRef) -> None:
        child = self._children.get(seat.name)
        if child is not None and child.ref is member:
            seat.busy = False
            seat.idle_since = self._loop.time()
        self._balance()

    # Size.

    async def _resize(self, message: pool_messages.Resize) -> None:
        if not isinstance(message.size, int) or message.size < 1:
            raise InvalidConfig(f"a pool has at least one member, got size={message.size!r}")
        self._least = message.size
        self.most = max(self.most, message.size)
        self._send_away(len(self._staying()) - message.size)
        await self._grow(message.size)
        self._balance()

    def _send_away(self, number: int) -> None:
        """Have members leave, the last first; their waiting turns go to the others."""
        for seat in reversed(self._staying()):
            if number <= 0:
                break
            number -= 1
            seat.leaving = True
            queue, seat.queue = seat.queue, deque()
            for work in queue:
                self._assign(work)
        self._balance()

    def _dismiss(self, seat: _Seat) -> None:
        child = self._children.get(seat.name)
        if child is None:  # It is being replaced.
            self._loop.call_soon(self._vacate, seat)
        else:
            self._end_child(child)

    def _vacate(self, seat: _Seat) -> None:
        if seat in self._seats:
            self._seats.remove(seat)

    @property
    def _waiting(self) -> int:
        queued = sum(len(seat.queue) for seat in self._seats)
        return self.actor_inbox.turns_waiting + len(self._unassigned) + queued

    async def _scale(self, most: int) -> None:
        """Add a member while as many turns wait as there are; remove one that is idle."""
        after = self._template.shrink_after
        while True:
            await asyncio.sleep(min(_SCALE_EVERY, after / 2))
            now = self._loop.time()
            seats = self._staying()
            idle = [s for s in seats if not s.busy and not s.queue and now - s.idle_since >= after]
            if len(seats) < most and self._waiting >= len(seats):
                with contextlib.suppress(AgentStartError):  # `_forget` sees to that.
                    await self._grow(len(seats) + 1)
            elif idle and len(seats) > self._least:
                idle[-1].leaving = True
            self._balance()

    # What it tells.

    def _get_members(self, _: pool_messages.GetMembers) -> list[AgentRef]:
        children = [self._children.get(seat.name) for seat in self._staying()]
        return [c.ref for c in children if c is not None and isinstance(c.ref, AgentRef)]

    def _get_statistics(self, _: pool_messages.GetPoolStatistics) -> pool_messages.PoolStatistics:
        seats = self._staying()
        return pool_messages.PoolStatistics(
            name=self.name,
            size=len(seats),
            busy=sum(seat.busy for seat in seats),
            waiting=self._waiting,
            replaced=self._replaced,
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


def _gather(parts: list[ReplyFuture[Any]], reply_to: pykka.Future[Any] | None) -> None:
    """Answer a broadcast with all replies, or with the first error among them."""
    try:
        replies = [part.get(timeout=0) for part in parts]
    except BaseException as error:  # noqa: BLE001 (it belongs to the asker)
        fail(reply_to, error)
    else:
        resolve(reply_to, replies)


def _cancel_all(future: ReplyFuture[Any], parts: list[ReplyFuture[Any]]) -> None:
    if future.cancelled():
        for part in parts:
            part.cancel()


def check_pool(message: pool_messages.CreatePool) -> None:
    """Refuse a pool that cannot be.

    Raises:
        InvalidConfig: names what is wrong, and what to give instead.
    """
    if not isinstance(message.routing, Routing):
        raise InvalidConfig(f"routing is one of agy_actors.Routing, got {message.routing!r}")
    for field in ("size", "capacity"):
        number = getattr(message, field)
        check_integer(field, number, least=1, error=InvalidConfig)
    most = message.max_size
    if most is not None and (
        check_integer("max_size", most, least=1, error=InvalidConfig) < message.size
    ):
        raise InvalidConfig(f"max_size is a whole number from size on, got {most!r}")
    if most is not None and message.routing is Routing.BROADCAST:
        raise InvalidConfig("a pool that broadcasts does not scale: all members have every turn")
    after = message.shrink_after
    check_seconds("shrink_after", after, error=InvalidConfig)
