"""`SupervisorChild`: a supervisor, or a pool, as the child of a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors import registry
from agy_actors._actors.lifeline import DeathReason
from agy_actors._supervision.child import Child
from agy_actors._supervision.counts import What

if TYPE_CHECKING:
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.owner_ref import OwnerRef

__all__ = ["SupervisorChild"]


class SupervisorChild(Child):
    """A supervisor, or a pool, as the child of a supervisor.

    Its actor is never replaced. A restart ends its children and starts them again, each behind its
    ref.
    """

    noun: ClassVar[str] = "Supervisor"
    ends_itself: ClassVar[bool] = True  # It ends its children by force, each in its time.

    def __init__(self, actor: OwnerActor, **fields: Any) -> None:
        super().__init__(name=actor.name, **fields)
        self._actor = actor

    @property
    def ref(self) -> OwnerRef:
        return self._actor.actor_ref

    @property
    def actor(self) -> OwnerActor:
        return self._actor

    @property
    def kind(self) -> str:
        return self._actor.noun

    def begin(self) -> None:
        if self.begun:
            self._actor.context.hub.counts.add(What.RESTARTS, self.kind)
            self.running = True
            self._actor.lifecycle.order_resume()
            return
        self.begun = True
        registry.register(self.ref)
        self._run()

    def request_restart(self) -> None:
        self._actor.lifecycle.order_halt()

    def ask_to_end(self, *, drain: bool) -> None:
        self._actor.lifecycle.order_end(drain=drain)

    def declare_dead(self, error: Exception, reason: DeathReason) -> list[object]:
        if reason is DeathReason.GIVEN_UP:
            self._actor.lifecycle.order_give_up(error)
        return []

    def start_error(self, error: Exception) -> Exception:
        return self._actor.context.kinds.start_error(self.ref, self.reason(), error)

    def ended_early_error(self) -> Exception:
        return self._actor.context.kinds.ended_early_error(self.ref)
