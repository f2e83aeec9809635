"""`AgentChild`: an agent as the child of a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.agent_messages import Delete, Disconnect
from agy_actors._agents.agent_ref import AgentRef
from agy_actors._agents.overdue_turns import OverdueTurns
from agy_actors._agents.record import AgentRecord, AgentSpec
from agy_actors._agents.start_failure import ended_early_error, start_error
from agy_actors._sdk.errors import AgentDeadError
from agy_actors._sdk.start_errors import describe_start
from agy_actors._supervision.counts import What
from agy_actors._supervision.incarnation_child import IncarnationChild

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._actors.errors import ActorDeadError
    from agy_actors._actors.incarnation import Owner
    from agy_actors._agents.tally import Tally

__all__ = ["AgentChild"]


class AgentChild(IncarnationChild):
    """An agent as the child of a supervisor.

    Args:
        spec: the facts from which the agent is created.
        reporter: where its incarnations report to.
        tally: counts the turns of the supervisor's agents.
        fields: those of `IncarnationChild`, other than its first incarnation and its ref.
    """

    noun: ClassVar[str] = "Agent"
    force: ClassVar[str] = "its process is killed"
    dead_error: ClassVar[type[ActorDeadError]] = AgentDeadError
    end_requests: ClassVar[tuple[type, ...]] = (*IncarnationChild.end_requests, Disconnect, Delete)

    def __init__(
        self, spec: AgentSpec, reporter: Owner, *, tally: Tally | None = None, **fields: Any
    ) -> None:
        self.spec = spec
        self.record = AgentRecord(tally, spec.budgets)
        self._reporter = reporter
        first = self._make_incarnation()
        super().__init__(first, AgentRef(first), name=spec.name, **fields)
        self._overdue: OverdueTurns | None = None
        """Ends turns that wait too long for the restart."""

    def _make_incarnation(self) -> AgentActor:
        return AgentActor(self.spec, self.record, self._reporter)

    @property
    def ref(self) -> AgentRef:
        return cast("AgentRef", self._ref)

    @property
    def actor(self) -> AgentActor:
        return cast("AgentActor", self._actor)

    @property
    def crashed_turn(self) -> object | None:
        return self.actor.crashed_turn

    @property
    def stop_timeout(self) -> float:
        return self.spec.stop_timeout

    @property
    def state(self) -> str:
        """Its state in one word, as in `SupervisorStatistics`. Thread-safe."""
        if self.ending:
            return "ending"
        is_up = self.running and not self.actor.has_crashed
        state = self.actor.state.value if is_up else "starting"
        return "restarting" if state == "starting" and self.record.restarts_done else state

    def begin(self) -> None:
        if self.begun:
            self.record.restarts += 1
            self.record.tally.note_restart()
            self.spec.hub.counts.add(What.RESTARTS, self.kind)
        super().begin()

    def ask_to_end(self, *, drain: bool) -> None:
        if drain:
            self.ref.stop(block=False)
        elif self.draining or self.ref.actor_inbox.closed:
            self.ref.stop(block=False, now=True)  # It takes no further message.
        else:
            self.ref.ask(Disconnect(), block=False)

    def note_hang(self, error: Exception) -> None:
        super().note_hang(error)
        self.record.last_error = str(error)

    def note_end(self, *, turns_move: bool) -> None:
        """End the turn that was cut off, if no incarnation and no member resumes it."""
        pending = self.record.pending
        moves = turns_move and pending is not None and pending.moves
        if not moves and not self.running:
            self.record.end_lost_turn(self.spec, current_runtime().monotonic())

    def watch_for_end(
        self, loop: asyncio.AbstractEventLoop, on_end_request: Callable[[], None]
    ) -> None:
        self._overdue = OverdueTurns(
            self.spec, self.record, self.ref.actor_inbox, loop, lambda: self.running
        )
        super().watch_for_end(loop, on_end_request)

    def _look_while_down(self) -> None:
        if self._overdue is not None:
            self._overdue.look()

    def put_held_back(self) -> None:
        if self._overdue is not None:
            self._overdue.stop()
        super().put_held_back()

    def start_error(self, error: Exception) -> Exception:
        return start_error(self.ref, self.reason(), error)

    def ended_early_error(self) -> Exception:
        return ended_early_error(self.ref)

    def reason(self) -> str:
        words = "unknown" if self.error is None else describe_start(self.error)
        return self.actor.redact(words)
