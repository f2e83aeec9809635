"""`ChildLifecycle`: starts, restarts and ends a supervisor's children.

It is used on the thread of the actor that owns the children; other threads send reports
(`report_queue`). `restart_logic`, a pure function, decides what to do about a child, and this class
does it. The subclasses of `Child` know one kind of child. `child_ending` ends children.

Guarantee: when the end of a child is visible, by its dead ref or by the reply to a stop, the
supervisor no longer lists the child.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pykka
from loguru import logger

from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.lifeline import DeathReason
from agy_actors._supervision import restart_steps as steps
from agy_actors._supervision.background import Background
from agy_actors._supervision.child import given_up_error
from agy_actors._supervision.child_announcements import ChildAnnouncements
from agy_actors._supervision.child_ending import ChildEnding
from agy_actors._supervision.child_observer import ChildObserver
from agy_actors._supervision.event_hub import EventHub
from agy_actors._supervision.hang_detection import detect_hangs
from agy_actors._supervision.report_queue import Exited, Ordered, Reporter, ReportQueue
from agy_actors._supervision.restart_logic import decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._supervision.child import Child
    from agy_actors._supervision.child_owner import ChildOwner
    from agy_actors._supervision.family import Family
    from agy_actors._supervision.report_queue import Report
    from agy_actors._supervision.restart_policy import Backoff
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["ChildLifecycle"]


class ChildLifecycle:
    """Starts, restarts and ends the children of one supervisor.

    Args:
        owner: the supervisor's actor.
        family: the state for `restart_logic`.
        backoff: how long to wait before a restart.
        hang_timeout: the seconds after which a child that does not respond is replaced; `None`
            for never.
        context: the objects that the supervisor shares with the one above.
        observer: its functions are called at events of the children.
    """

    def __init__(
        self,
        owner: ChildOwner,
        *,
        family: Family,
        backoff: Backoff,
        hang_timeout: float | None,
        context: SupervisorContext,
        observer: ChildObserver | None = None,
    ) -> None:
        self._owner = owner
        self._family = family
        self.backoff = backoff
        self.hang_timeout = hang_timeout
        self._above = context.reporter
        self._dead_error = context.kinds.dead_error
        self._observer = observer or ChildObserver()
        self.hub = EventHub(context.hub) if context.reporter else context.hub
        self.log = logger.bind(supervisor=owner.name)
        self.background = Background(self.log)
        self._announce = ChildAnnouncements(owner.name, self.hub, self.log)
        self.children: dict[str, Child] = {}
        """By name. Another thread must copy it with one call."""
        self.names: dict[str, str] = {}
        """The children's names by their URNs."""
        self.starting: set[Child] = set()
        """The names of the children that were never ready."""
        self.reports = ReportQueue(self._take_report)
        self._ending = ChildEnding(
            self.children,
            self.background,
            self.log,
            on_end=lambda child: self._feed(steps.Leaving(child.name)),
            forget=lambda child: self._forget(child, None),
            note_end=self._observer.note_end,
            finish_work=self._observer.finish_work,
        )
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<ChildLifecycle of {self._owner}: {self._family}; {self._ending}>"

    @property
    def is_ending(self) -> bool:
        """Whether all children and the supervisor are ending."""
        return self._ending.all_ended is not None

    @property
    def drains(self) -> bool:
        """Whether the children may finish their turns before they end."""
        return self._ending.drains

    def reporter_of(self, name: str) -> Reporter:
        """Return the object that the incarnations of a child report to."""
        return Reporter(self.reports, name, self._owner.name, self.hub)

    def new_futures(self) -> dict[str, asyncio.Future[None]]:
        """Return the futures of a new child, by the names of its fields."""
        return {"ready": self._loop.create_future(), "ended": self._loop.create_future()}

    def start(self) -> None:
        """Start, on the actor's loop."""
        self._loop = asyncio.get_running_loop()
        timeout = self.hang_timeout
        if timeout is not None:
            self.background.start(
                "hang detection",
                lambda: detect_hangs(self.children, timeout, self.background, self._replace_hung),
            )
        self.reports.start(self._loop)

    def add(self, child: Child) -> None:
        """Add a child, and start it."""
        self.children[child.name] = child
        child.ref._child_name = child.name  # noqa: SLF001 (for `waits_below`)
        self.names[child.ref.actor_urn] = child.name
        self.starting.add(child)
        self._feed(steps.Added(child.name, child.restart))
        if self._family.halted:
            return  # The supervisor above will resume it.
        try:
            child.begin()
        except Exception as error:  # noqa: BLE001 (the creator gets any error)
            child.actor._failed_with = child.error or error  # noqa: SLF001 (its supervisor's)
            self._handle_exit(child)

    def restart(self, child: Child) -> None:
        """Restart a child without counting a failure, or end the wait before its restart."""
        self._feed(steps.RestartAsked(child.name))

    def is_up(self, name: str) -> bool:
        """Return whether a child is ready."""
        member = self._family.find(name)
        return member is not None and member.phase is steps.Phase.UP

    # Orders from the supervisor above. Thread-safe.

    def order(self, call: Callable[[], object]) -> None:
        """Call a function on the supervisor's thread. Thread-safe."""
        self.reports.put(Ordered(call))

    def order_halt(self) -> None:
        """End all children, to start them again later."""
        self.order(lambda: self._feed(steps.Halt()))

    def order_resume(self) -> None:
        """Start all children again."""
        self.order(self._resume)

    def order_end(self, *, drain: bool) -> None:
        """End for good."""
        self.order(lambda: self.stop(drain=drain))

    def order_give_up(self, error: Exception) -> None:
        """End for good, with all supervisors below, because of an error."""
        self.order(lambda: self._be_given_up(error))

    def _resume(self) -> None:
        self._owner._failed_with = None  # noqa: SLF001 (as above)
        self._feed(steps.Resume())

    def stop(self, *, drain: bool) -> None:
        """End all children and stop the supervisor."""
        if drain and self._observer.drains_before_stop:
            end = self.end_all(drain=True)
            end.add_done_callback(lambda _: self._stop_owner(drain=True))
        else:
            self._stop_owner(drain=drain)

    def _stop_owner(self, *, drain: bool) -> None:
        if not drain:
            self.end_drain()
        if not self.is_ending:
            self._ending.drains = drain
        with contextlib.suppress(pykka.ActorDeadError):  # It is stopping already.
            self._owner.stop()

    def _be_given_up(self, error: Exception) -> None:
        self._owner._failed_with = error  # noqa: SLF001 (as above)
        self._owner.note_cause(error)
        for child in list(self.children.values()):
            if not child.running:
                self._forget(child, child.given_up_error(f"with {self._owner}"))
        self.stop(drain=False)

    # Reports.

    def _take_report(self, report: Report) -> None:
        if isinstance(report, Ordered):
            report.call()
            return
        child = self.children.get(report.name)
        if child is None or child.actor is not report.actor:
            return
        if isinstance(report, Exited):
            child.running = False
            child.on_exit()
            self._handle_exit(child)
        else:
            child.on_ready()
            if not child.ready.done():
                child.ready.set_result(None)
                self.starting.discard(child)
            self._feed(steps.BecameReady(child.name))

    def _handle_exit(self, child: Child) -> None:
        """Decide what to do with a child whose incarnation has exited."""
        name, error = child.name, child.error
        member = self._family.find(name)
        stopping = member is not None and member.phase is steps.Phase.STOPPING
        if not child.ready.done() and error is not None and not child.ending and not stopping:
            failed = child.start_error(error)
            self._feed(steps.Leaving(name))
            self._forget(child, failed)
        elif (
            child.ending
            or self.is_ending
            or child.outcome is Outcome.ENDED
            or child.ref.actor_inbox.closed  # It crashed while it was stopping.
            # It was started only to end: see `_end_while_down`.
            or (member is None and child.outcome is Outcome.FAILED)
        ):
            self._feed(steps.Leaving(name))
            self._forget(child, None)
        elif child.outcome is Outcome.RENEWED:
            self._feed(steps.Renewed(name))
        else:
            self._feed(steps.Failed(name, self._loop.time(), child.crashed_turn))
        if name in self.children and not child.running:
            child.watch_for_end(self._loop, lambda: self._end_while_down(child))

    def _end_while_down(self, child: Child) -> None:
        """Start a child that waits for its restart, so that it handles the request for its end."""
        self._feed(steps.Leaving(child.name))
        self._start_again(child)

    # Decisions.

    def _feed(self, event: steps.Event) -> None:
        """Decide on the actions for an event, and carry them out."""
        errors: list[Exception] = []
        for action in decide(self._family, event):
            try:
                self._carry_out(action)
            except Exception as error:  # noqa: BLE001 (raised when the others are carried out)
                errors.append(error)
        if errors:
            raise errors[0]
        self._observer.on_event(event)

    def _carry_out(self, action: steps.Action) -> None:
        match action:
            case steps.Start(name):
                self._start_again(self.children[name])
            case steps.RequestRestart(name):
                self._request_restart(self.children[name])
            case steps.End(name):
                self.end(self.children[name])
            case steps.Wait():
                self._wait(action)
            case steps.GiveUp(name, why):
                self._give_up(self.children[name], why)
            case steps.Escalate(name, why):
                self._escalate(self.children[name], why)
            case steps.AllExited() | steps.AllReady():
                above = self._above
                assert above is not None
                self._owner._outcome = Outcome.CRASHED  # noqa: SLF001 (as above)
                report = above.gone if isinstance(action, steps.AllExited) else above.ready
                report(self._owner)

    def _wait(self, action: steps.Wait) -> None:
        child = self.children[action.name]
        try:
            delay = self.backoff.delay(action.failures)
        except Exception as error:  # noqa: BLE001 (a wait is the user's own function)
            self._feed(steps.Leaving(child.name))
            self._give_up(child, f"its backoff raised {type(error).__name__}: {error}")
            return
        self._announce.restarting(child, delay)
        if delay <= 0:
            self._feed(steps.BackoffOver(action.token))
            return
        label = f"the restart of {child.label}"
        self.background.start(label, lambda: self._end_backoff(delay, action.token))

    async def _end_backoff(self, delay: float, token: int) -> None:
        await asyncio.sleep(delay)
        self._feed(steps.BackoffOver(token))

    def _start_again(self, child: Child) -> None:
        try:
            child.begin()
        except Exception as error:  # noqa: BLE001 (after any error, the child does not run)
            if not child.ready.done():
                self._handle_exit(child)  # It is the first start: its creator gets the error.
                return
            self._feed(steps.Leaving(child.name))
            self._give_up(child, f"it could not be started again ({type(error).__name__})")

    def _request_restart(self, child: Child) -> None:
        child.request_restart()
        if not child.ends_itself:
            self.background.start(
                f"the restart of {child.label}", lambda: self._enforce_restart(child, child.actor)
            )

    async def _enforce_restart(self, child: Child, actor: Any) -> None:
        await self._ending.wait_then_kill(child, actor)
        if child.runs(actor) and not child.ending:
            self._replace(child, "did not end when it was to be restarted")

    def _give_up(self, child: Child, why: str) -> None:
        error = child.given_up_error(why)
        self._announce.given_up(child, error)
        self._forget(child, error)

    def _escalate(self, child: Child, why: str) -> None:
        why = f"its child {child.name!r} failed too often: {why}"
        error = given_up_error(self._dead_error, str(self._owner), why, child)
        self._owner._failed_with = error  # noqa: SLF001 (as above)
        self._announce.escalated(error)

    def _forget(self, child: Child, error: Exception | None) -> None:
        """Remove a child without a running incarnation; `error` says why it was given up."""
        if child.ended.done():
            return
        given_up = isinstance(error, pykka.ActorDeadError)
        if child.ends_itself and child.begun and error is not None and given_up:
            child.declare_dead(error, DeathReason.GIVEN_UP)
            child.ending = True  # Its end will be reported.
            return
        self.children.pop(child.name, None)
        self.names.pop(child.ref.actor_urn, None)
        self._observer.note_end(child)
        dead_letters = child.declare_dead(
            error or child.dead_error(f"{child.label} has ended"),
            DeathReason.GIVEN_UP if given_up else DeathReason.STOPPED,
        )
        for letter in dead_letters:
            child.on_dead_letter(letter)
        if not child.ends_itself and not given_up:
            self._announce.stopped(child)
        self.starting.discard(child)
        if not child.ready.done():
            child.ready.set_exception(error or child.ended_early_error())
            child.ready.exception()  # Retrieved, because its creator may have stopped waiting.
        child.ended.set_result(None)
        self._observer.on_forgotten(child, error)

    # Children that hang.

    def _replace_hung(self, child: Child, seconds: float) -> None:
        where = child.where()
        self._announce.hung(child, seconds, where)
        self._replace(child, f"its thread was held up for {seconds:.3g} s by {where}")

    def _replace(self, child: Child, why: str) -> None:
        """Replace an incarnation that does not respond. Its thread is abandoned."""
        self._announce.abandoned(child, why)
        child.note_hang(TimeoutError(f"{child.label} hung: {why}"))
        child.abandon()
        child.running = False
        self._handle_exit(child)

    # Ending.

    def end(self, child: Child, *, drain: bool = False) -> None:
        """End a child for good, by force if necessary."""
        self._ending.end(child, drain=drain)

    def end_all(self, *, drain: bool = False) -> asyncio.Task[None]:
        """End all children, once. No child can be added after this."""
        if self._ending.all_ended is not None:
            return self._ending.all_ended
        drain = drain or self._ending.drains
        self._observer.before_end(drain=drain)
        return self._ending.end_all(drain=drain)

    def end_drain(self) -> None:
        """If the children finish their turns before they end, cancel those turns."""
        self._ending.end_drain()
