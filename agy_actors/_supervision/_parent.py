"""`ParentActor`: looks after children, each from its start to its end.

It holds them in its own state, which its own thread alone touches; what a child has to
say comes as a report. What is to be done about a child is decided in `_decisions`; how it
is done to a child, in `_children`; here the one is carried out by the other.

Guarantees:

*   No report is lost. They do not travel as messages, which a stop would drop with the
    rest of the mailbox, and they are taken before any message that came after them.
*   Whoever sees a child's end, by its dead ref or by the answer to a stop, finds it
    forgotten here.
*   Each child is ended once, by a task of its own, within its `stop_timeout` and twice
    `_CHILD_GRACE`; who waits for that end may go away without changing it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pykka
from loguru import logger

from agy_actors._agent import (
    AgentActor,
    AgentDeadError,
    AgentStartError,
    ConversationInUse,
    Outcome,
    PaceBoard,
    can_start_later,
)
from agy_actors._events import (
    AgentGivenUp,
    AgentHung,
    AgentRestarting,
    AgentStopped,
    EventHub,
    SupervisorEscalated,
)
from agy_actors._kernel import AsyncioActor, DeathReason
from agy_actors._supervision import _decisions as decisions
from agy_actors._supervision._children import AgentChild, Child, SupervisorChild, given_up_error
from agy_actors._supervision._decisions import Backoff, Family, decide
from agy_actors._supervision._open_files import hint
from agy_actors._supervision._ref import OwnerRef, SupervisorRef

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from agy_actors._kernel import AsyncioActorRef

__all__ = ["ParentActor", "Place"]

_CHILD_GRACE = 10.0
"""Seconds for an agent to end before its process is killed, and then to be abandoned. As
agy-bridge's."""

_ORDERLY = 1.0
"""Seconds for which a stop ends children one after another, the youngest first. Then it
tells all that are left at once, so that a stop takes no longer the more of them are stuck.
Arbitrary: an idle agent takes a few hundredths of a second."""


class _Ready(NamedTuple):
    actor: AgentActor | ParentActor


class _Gone(NamedTuple):
    actor: AgentActor | ParentActor


class _Ordered(NamedTuple):
    """What the supervisor above wants."""

    carry_out: Callable[[], object]


class _Reporter:
    """Carries an incarnation's reports from its thread to its parent's."""

    def __init__(self, parent: ParentActor) -> None:
        self._parent = parent

    def ready(self, actor: AgentActor | ParentActor) -> None:
        self._parent.report(_Ready(actor))

    def gone(self, actor: AgentActor | ParentActor) -> None:
        self._parent.report(_Gone(actor))


class Place(NamedTuple):
    """Where a supervisor stands: what it shares with the one above."""

    reporter: _Reporter | None
    path: str
    save_dir: Path
    durable: bool
    hub: EventHub
    pace: PaceBoard
    host: AsyncioActorRef | None
    """Who has processes to share; `None` if each agent has its own."""


def _start_error(child: Child, error: Exception) -> AgentStartError:
    """Return what the creator of a child that did not start gets."""
    if isinstance(error, ConversationInUse):
        return error
    failed = AgentStartError(
        f"{child.ref} did not start: {child.reason()}{hint(error)}",
        retryable=can_start_later(error),
    )
    failed.__cause__ = error
    return failed


class ParentActor(AsyncioActor):
    """Looks after children. What they are, and who wants them, is a subclass's affair."""

    def __init__(
        self,
        *,
        name: str,
        family: Family,
        backoff: Backoff,
        hang_timeout: float | None,
        place: Place,
    ) -> None:
        super().__init__()
        self.name = name
        self._actor_ref = SupervisorRef(self)
        self.actor_inbox.owner = str(self)
        self._family = family
        self._backoff = backoff
        self._hang_timeout = hang_timeout
        self._place = place
        self._hub = EventHub(place.hub) if place.reporter else place.hub
        self._children: dict[str, Child] = {}
        self._reporter = _Reporter(self)
        self._reports: deque[_Ready | _Gone | _Ordered] = deque()
        self._tasks: dict[asyncio.Task[None], None] = {}
        """In the order of their start, which is also that of their cancellation."""
        self._endings: set[asyncio.Task[None]] = set()
        self._all_ended: asyncio.Task[None] | None = None
        self._drain_children = False
        self.outcome = Outcome.ENDED
        """What the supervisor above is to think of it, when it is told."""
        self.error: Exception | None = None
        self._log = logger.bind(supervisor=name)

    def __str__(self) -> str:
        return f"supervisor {self.name!r}" if hasattr(self, "name") else super().__str__()

    @property
    def actor_ref(self) -> OwnerRef:
        """The supervisor's ref."""
        return cast("OwnerRef", self._actor_ref)

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"{self} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return str(self)

    def on_start(self) -> None:
        if self._hang_timeout is not None:
            self._do(self._look_for_hung(self._hang_timeout))
        self._take_reports()  # Those that came before there was a loop.

    async def on_stop(self) -> None:  # type: ignore[override] # the kernel awaits it
        await self._end_all()

    def _after_loop(self) -> None:
        place = self._place
        if place.reporter is None and not place.durable:
            shutil.rmtree(place.save_dir, ignore_errors=True)
        if self.error is not None:
            self.actor_stopped.die(DeathReason.GIVEN_UP, self.error)
        super()._after_loop()
        if place.reporter is not None:
            self.outcome = Outcome.ENDED
            place.reporter.gone(self)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, for as long as the supervisor lives."""
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def _add(self, child: Child) -> None:
        """Take a child in, and start it."""
        self._children[child.name] = child
        self._feed(decisions.Joined(child.name, child.restart))
        member = self._family.find(child.name)
        if member is None or member.phase is not decisions.Phase.STARTING:
            return  # The supervisor above has halted this one, and will have it resume.
        try:
            child.begin()
        except (OSError, RuntimeError):
            self._settle(child)

    # Reports, and orders from the supervisor above.

    def report(self, report: _Ready | _Gone | _Ordered) -> None:
        """Take a report, from any thread."""
        self._reports.append(report)
        with contextlib.suppress(RuntimeError, AttributeError):
            # The loop is closed: an abandoned agent's. Or not made yet: it takes them first.
            self._loop.call_soon_threadsafe(self._take_reports)

    def report_soon(self, carry_out: Callable[[], object]) -> None:
        """Have something done on the supervisor's thread. From any thread."""
        self.report(_Ordered(carry_out))

    def halt(self) -> None:
        """End all children, to start them again. For the supervisor above, on its thread."""
        self.report_soon(lambda: self._feed(decisions.Halt()))

    def resume(self) -> None:
        """Start all children again. For the supervisor above, on its thread."""
        self.report_soon(self._resume)

    def end(self, *, drain: bool) -> None:
        """End for good. For the supervisor above, on its thread."""
        self.report_soon(lambda: self._end_with_all(drain=drain))

    def be_given_up(self, error: Exception) -> None:
        """End for good, and all below with it. For the supervisor above, on its thread."""
        self.report_soon(lambda: self._be_given_up(error))

    def _resume(self) -> None:
        self.error = None
        self._feed(decisions.Resume())

    def _end_with_all(self, *, drain: bool) -> None:
        self._drain_children = drain
        with contextlib.suppress(pykka.ActorDeadError):  # It is stopping already.
            self.stop()

    def _be_given_up(self, error: Exception) -> None:
        self.error = self._cause = error
        for child in list(self._children.values()):
            if not child.running:
                self._forget(child, given_up_error(str(child.ref), f"with {self}", child))
        self._end_with_all(drain=False)

    def _take_reports(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            if isinstance(report, _Ordered):
                report.carry_out()
                continue
            actor = report.actor
            name = actor.name if isinstance(actor, ParentActor) else actor.spec.name
            child = self._children.get(name)
            if child is None or child.actor is not actor:
                continue
            if isinstance(report, _Gone):
                child.running = False
                self._settle(child)
            else:
                if not child.up.done():
                    child.up.set_result(None)
                self._feed(decisions.CameUp(name))

    def _settle(self, child: Child) -> None:
        """See to a child of which nothing runs any more."""
        name, error = child.name, child.error
        member = self._family.find(name)
        recalled = member is not None and member.phase is decisions.Phase.RECALLED
        if not child.up.done() and error is not None and not child.ending and not recalled:
            failed = _start_error(child, error)
            self._feed(decisions.Left(name))
            self._forget(child, failed)
        elif (
            child.ending
            or self._all_ended is not None
            or child.outcome is Outcome.ENDED
            or child.ref.actor_inbox.closed  # It crashed while it was stopping.
        ):
            self._feed(decisions.Left(name))
            self._forget(child, None)
        elif child.outcome is Outcome.RENEWED:
            self._feed(decisions.Renewed(name))
        else:
            self._feed(decisions.Failed(name, self._loop.time(), child.crashed_turn))
        if name in self._children and isinstance(child, AgentChild) and not child.running:
            child.look_after(self._loop, lambda: self._end_while_down(child))

    def _end_while_down(self, child: AgentChild) -> None:
        """Have a child that waits for its restart come up and end, in its own way."""
        self._feed(decisions.Left(child.name))
        self._start_again(child)

    # Decisions.

    def _feed(self, event: decisions.Event) -> None:
        self._family, actions = decide(self._family, event)
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: decisions.Action) -> None:
        match action:
            case decisions.Start(name):
                self._start_again(self._children[name])
            case decisions.Recall(name):
                self._recall(self._children[name])
            case decisions.End(name):
                self._end_child(self._children[name])
            case decisions.Wait():
                self._wait(action)
            case decisions.GiveUp(name, why):
                child = self._children[name]
                self._give_up(child, given_up_error(str(child.ref), why, child))
            case decisions.Escalate(name, why):
                self._escalate(self._children[name], why)
            case decisions.AllGone():
                self._report_above("gone")
            case decisions.AllUp():
                self._report_above("ready")

    def _report_above(self, what: str) -> None:
        reporter = self._place.reporter
        assert reporter is not None
        self.outcome = Outcome.CRASHED
        getattr(reporter, what)(self)

    def _wait(self, action: decisions.Wait) -> None:
        child = self._children[action.name]
        try:
            delay = self._backoff.delay(action.failures)
        except Exception as error:  # noqa: BLE001 (a wait is the user's own function)
            self._feed(decisions.Left(child.name))
            why = f"its backoff raised {type(error).__name__}: {error}"
            self._give_up(child, given_up_error(str(child.ref), why, child))
            return
        self._log.bind(agent=child.name).warning(
            "Agent failed ({}), restarts in {:.2f} s", type(child.error).__name__, delay
        )
        if self._hub.active:
            self._hub.publish(AgentRestarting(supervisor=self.name, agent=child.name, delay=delay))
        if delay > 0:
            self._do(self._end_backoff(delay, action.token))
        else:
            self._feed(decisions.BackoffOver(action.token))

    async def _end_backoff(self, delay: float, token: int) -> None:
        await asyncio.sleep(delay)
        self._feed(decisions.BackoffOver(token))

    def _start_again(self, child: Child) -> None:
        try:
            child.begin()
        except (OSError, RuntimeError):
            if not child.up.done():
                self._settle(child)  # It is the first start, whose failure is its creator's.
                return
            self._feed(decisions.Left(child.name))
            why = "it could not be started again"
            self._give_up(child, given_up_error(str(child.ref), why, child))

    def _recall(self, child: Child) -> None:
        child.recall()
        if isinstance(child, AgentChild):
            self._do(self._see_to_recall(child, child.actor))

    async def _see_to_recall(self, child: AgentChild, actor: AgentActor) -> None:
        await self._outlast(child, actor)
        if child.running and child.actor is actor and not child.ending:
            self._replace(child, "did not end when it was to be restarted")

    async def _outlast(self, child: AgentChild, actor: AgentActor) -> None:
        """Wait for the end of an incarnation, with force when its grace is over."""
        for force in (False, True):
            if force:
                self._log.bind(agent=child.name).warning(
                    "Agent does not end; its process is killed"
                )
                actor.kill()
            deadline = self._loop.time() + _CHILD_GRACE
            while child.running and child.actor is actor and self._loop.time() < deadline:
                await asyncio.wait([child.ended], timeout=_CHILD_GRACE / 100)
            if not child.running or child.actor is not actor:
                return

    def _give_up(self, child: Child, error: AgentDeadError) -> None:
        self._log.bind(agent=child.name).error("{}", error)
        if self._hub.active:
            self._hub.publish(
                AgentGivenUp(supervisor=self.name, agent=child.name, error=str(error))
            )
        self._forget(child, error)

    def _escalate(self, child: Child, why: str) -> None:
        error = given_up_error(
            str(self), f"its child {child.name!r} failed too often: {why}", child
        )
        self.error = error
        self._log.error("{}", error)
        if self._hub.active:
            self._hub.publish(SupervisorEscalated(supervisor=self.name, error=str(error)))

    def _forget(self, child: Child, error: Exception | None) -> None:
        if child.ended.done():
            return
        given_up = isinstance(error, AgentDeadError)
        if isinstance(child, SupervisorChild) and child.begun and given_up:
            child.bury(cast("Exception", error), DeathReason.GIVEN_UP)
            child.ending = True  # Its end will be reported.
            return
        self._children.pop(child.name, None)
        dead_letters = child.bury(
            error or AgentDeadError(f"{child.ref} has ended"),
            DeathReason.GIVEN_UP if given_up else DeathReason.STOPPED,
        )
        if isinstance(child, AgentChild):
            for letter in dead_letters:
                child.actor.on_dead_letter(letter)
            if self._hub.active and not given_up:
                self._hub.publish(AgentStopped(supervisor=self.name, agent=child.name))
        if not child.up.done():
            child.up.set_exception(
                error or AgentStartError(f"{child.ref} was ended while it started", retryable=True)
            )
            child.up.exception()  # Retrieved: its creator may have gone.
        child.ended.set_result(None)

    # Agents that hang.

    async def _look_for_hung(self, timeout: float) -> None:
        """Replace agents whose loops do not turn.

        A second without a tick of this loop itself, on a machine that slept, say, counts
        as no more than two of its own periods for theirs.
        """
        period = min(timeout / 8, 0.5)
        last = self._loop.time()
        while True:
            await asyncio.sleep(period)
            now = self._loop.time()
            passed, last = min(now - last, 2 * period), now
            for child in list(self._children.values()):
                if isinstance(child, AgentChild) and child.running and not child.ending:
                    child.silent = 0.0 if child.actor.beats() else child.silent + passed
                    if child.silent >= timeout:
                        self._replace_hung(child, child.silent)

    def _replace_hung(self, child: AgentChild, seconds: float) -> None:
        where = child.actor.where()
        if self._hub.active:
            self._hub.publish(
                AgentHung(supervisor=self.name, agent=child.name, seconds=seconds, where=where)
            )
        self._replace(child, f"its thread was held up for {seconds:.3g} s by {where}")

    def _replace(self, child: AgentChild, why: str) -> None:
        """Replace an agent without the help of its thread, which is abandoned."""
        self._log.bind(agent=child.name).error("Agent hangs; its thread is abandoned: {}", why)
        hanging = child.actor
        hanging.error = TimeoutError(f"{child.ref} hung: {why}")
        hanging.outcome = Outcome.CRASHED
        child.life.last_error = str(hanging.error)
        hanging.forsake()
        child.running = False
        self._settle(child)

    # Ending.

    def _end_all(self, *, drain: bool = False) -> asyncio.Task[None]:
        """End all children, once. There are no more of them from now on."""
        self._drain_children = self._drain_children or drain
        if self._all_ended is None:
            for task in self._tasks:
                task.cancel()
            self._all_ended = self._loop.create_task(self._end_children())
        return self._all_ended

    async def _end_children(self) -> None:
        children = list(reversed(self._children.values()))
        orderly_until = self._loop.time() + _ORDERLY
        for child in children:
            self._end_child(child, drain=self._drain_children)
            left = orderly_until - self._loop.time()
            if left > 0:
                await asyncio.wait([child.ended], timeout=left)
        if children:
            await asyncio.wait([child.ended for child in children])

    def _end_child(self, child: Child, *, drain: bool = False) -> None:
        """See to it that a child ends, whatever it does."""
        if child.ending or child.ended.done():
            return
        self._feed(decisions.Left(child.name))
        child.ending = True
        seeing_to_it = self._loop.create_task(self._see_to_end(child, drain=drain))
        self._endings.add(seeing_to_it)
        seeing_to_it.add_done_callback(self._endings.discard)
        if child.running or (isinstance(child, SupervisorChild) and child.begun):
            child.ask_to_end(drain=drain)
        else:
            self._forget(child, None)

    async def _see_to_end(self, child: Child, *, drain: bool) -> None:
        if isinstance(child, SupervisorChild):
            return  # It sees to its own.
        assert isinstance(child, AgentChild)
        log = self._log.bind(agent=child.name)
        await asyncio.wait([child.ended], timeout=child.spec.stop_timeout)
        if drain and not child.ended.done():
            log.warning("Agent is not done; its turns are cancelled")
            child.ask_to_end(drain=False)
            await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if child.ended.done():
            return
        log.warning("Agent does not end; its process is killed")
        child.actor.kill()
        await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if not child.ended.done():
            log.error("Agent's thread does not end; abandoned: {}", child.actor.where())
            abandoned = child.actor
            self._forget(child, None)
            abandoned.forsake()  # The turn that holds its thread up is answered, too.
