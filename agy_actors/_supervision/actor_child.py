"""`ActorChild`: any `AsyncioActor` as the child of a supervisor.

Each incarnation is a new instance of the actor's class, made with the same arguments on the
supervisor's thread. If the constructor raises at the first start, the creator gets the error; later
it is a failure of the actor, like an error of `on_start`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.incarnation import Outcome
from agy_actors._supervision.counts import What
from agy_actors._supervision.errors import ActorStartError
from agy_actors._supervision.events import AgentCrashed, AgentEvent, AgentReady, AgentStarted
from agy_actors._supervision.incarnation_child import IncarnationChild

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor import AsyncioActor
    from agy_actors._supervision.event_hub import EventHub
    from agy_actors._supervision.report_queue import Reporter

__all__ = ["ActorChild"]


class ActorChild(IncarnationChild):
    """Any `AsyncioActor` as the child of a supervisor.

    Args:
        construct: makes an incarnation.
        class_name: the name of the actor's class.
        stop_timeout: seconds that it has to end.
        name: its name.
        reporter: where its incarnations report to.
        supervisor: the supervisor's name.
        hub: where its events go.
        fields: those of `IncarnationChild`, other than its first incarnation and its ref.

    Raises:
        ActorStartError: the constructor failed.
    """

    def __init__(
        self,
        construct: Callable[[], AsyncioActor],
        *,
        class_name: str,
        stop_timeout: float,
        name: str,
        reporter: Reporter,
        supervisor: str,
        hub: EventHub,
        **fields: Any,
    ) -> None:
        self._constructor = construct
        self._class_name = class_name
        self._stop_timeout = stop_timeout
        self._reporter = reporter
        self._supervisor = supervisor
        self._hub = hub
        self._restarts = 0
        self._name = name
        try:
            first = self._construct()
        except Exception as error:
            raise ActorStartError(
                f"{self.label} did not start: {type(error).__name__}: {error}"
            ) from error
        super().__init__(first, first.actor_ref, name=name, **fields)

    def _construct(self) -> AsyncioActor:
        actor = self._constructor()
        actor._owner = self._reporter  # noqa: SLF001 (for its supervisor)
        return actor

    def _make_incarnation(self) -> AsyncioActor | None:
        self._restarts += 1
        try:
            return self._construct()
        except BaseException as error:  # noqa: BLE001 (any error is a failure of the actor)
            failure = error
            if not isinstance(error, Exception):
                failure = RuntimeError(f"{type(error).__name__}: {error}")
            last = self._actor
            last._outcome, last._failed_with = Outcome.CRASHED, failure  # noqa: SLF001 (as above)
            # As a report, which is handled later, because the next start may fail at once, too.
            self._reporter.gone(self._actor)
            return None

    @property
    def label(self) -> str:
        return f"{self._class_name} {self._name!r}"

    @property
    def stop_timeout(self) -> float:
        return self._stop_timeout

    def begin(self) -> None:
        if self.begun:
            self._hub.counts.add(What.RESTARTS, self.kind)
        self._publish(AgentStarted, restarts=self._restarts + self.begun)
        super().begin()

    def ask_to_end(self, *, drain: bool) -> None:
        self.ref.stop(block=False, now=not drain)

    def start_error(self, error: Exception) -> Exception:
        failed = ActorStartError(f"{self.label} did not start: {self.reason()}")
        failed.__cause__ = error
        return failed

    def ended_early_error(self) -> Exception:
        return ActorStartError(f"{self.label} was ended while it started", retryable=True)

    def on_ready(self) -> None:
        self._publish(AgentReady)

    def on_exit(self) -> None:
        if self.outcome is Outcome.CRASHED:
            self._publish(AgentCrashed, error=self.reason())

    def _publish(self, kind: type[AgentEvent], **what: Any) -> None:
        if self._hub.active:
            self._hub.publish(kind(supervisor=self._supervisor, agent=self._name, **what))
