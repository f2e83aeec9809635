"""`SupervisorActor`: an actor that creates children, restarts them and ends them.

Its context determines the kinds of children that it creates: see `ChildKinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from agy_actors._actors.runtime import ThreadRuntime
from agy_actors._supervision import interpreter_exit
from agy_actors._supervision.actor_creation import CreateActor, GetActors, get_actors, make_actor
from agy_actors._supervision.actor_pool import CreateActorPool, make_actor_pool
from agy_actors._supervision.child_creation import ChildCreation
from agy_actors._supervision.context_below import context_below
from agy_actors._supervision.family import Family
from agy_actors._supervision.owner_actor import OwnerActor
from agy_actors._supervision.restart_policy import Limits
from agy_actors._supervision.supervisor_child import SupervisorChild
from agy_actors._supervision.supervisor_messages import GetTopic
from agy_actors._supervision.topic import Topic
from agy_actors._supervision.validation import check_name, check_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._supervision.claims import Claims
    from agy_actors._supervision.creation import Creation
    from agy_actors._supervision.restart_policy import Backoff, Restart, Strategy
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["SupervisorActor", "make_supervisor"]


class SupervisorActor(OwnerActor):
    """Creates children, restarts those that fail, and ends all of them.

    Args:
        context: the objects that it shares with the supervisor above.
        options: the others of `OwnerActor`, without `handlers` and `observer`.
    """

    def __init__(self, *, context: SupervisorContext, **options: Any) -> None:
        kinds = context.kinds
        handlers: dict[type, Callable[[Any, Any], Any]] = {
            GetActors: get_actors,
            GetTopic: SupervisorActor._get_topic,
            **kinds.handlers,
        }
        makers: dict[type, Callable[..., Any]] = {
            CreateActor: make_actor,
            CreateActorPool: make_actor_pool,
            **kinds.makers,
        }
        for kind, make in makers.items():
            handlers[kind] = _creation_handler(make)
        super().__init__(context=context, handlers=handlers, **options)
        self.creation = ChildCreation(self)
        self._topics: dict[str, Topic] = {}
        # A simulated one ends with its simulation, after which it could not be stopped.
        if context.reporter is None and isinstance(self._runtime, ThreadRuntime):
            ref = self.actor_ref
            interpreter_exit.register(self.actor_urn, lambda: ref.stop(block=False))

    def on_start(self) -> None:
        above = self.context.reporter
        if above is None:
            self.context.kinds.start(self)
        else:
            above.ready(self)
        super().on_start()

    def stop_last(self) -> list[Any]:
        topics, self._topics = self._topics, {}
        return [end for topic in topics.values() for end in topic._close()]  # noqa: SLF001 (for this)

    def _get_topic(self, message: GetTopic) -> Topic:
        name = check_name(message.name)
        topic = self._topics.get(name)
        if topic is None:
            if self.lifecycle.is_ending:
                raise self.dead_error()
            topic = self._topics[name] = Topic(name, self.lifecycle.hub)
        return topic

    def _after_loop(self) -> None:
        if self.context.reporter is None:
            interpreter_exit.unregister(self.actor_urn)
        super()._after_loop()


def _creation_handler(
    make: Callable[..., Any],
) -> Callable[[SupervisorActor, Creation[Any]], Coroutine[Any, Any, Any]]:
    return lambda actor, message: actor.creation.create(actor.reply_to, message, make)


class _SupervisorOptions(Protocol):
    """The fields of a message that creates a supervisor."""

    @property
    def strategy(self) -> Strategy: ...
    @property
    def max_restarts(self) -> int: ...
    @property
    def within(self) -> float: ...
    @property
    def backoff(self) -> Backoff | None: ...
    @property
    def restart(self) -> Restart: ...


def make_supervisor(
    owner: OwnerActor, name: str, message: _SupervisorOptions, claims: Claims
) -> SupervisorChild:
    """Make a supervisor below another, of the same class.

    Raises:
        InvalidConfig: an argument is invalid.
    """
    check_supervisor(
        name=name,
        strategy=message.strategy,
        max_restarts=message.max_restarts,
        within=message.within,
        backoff=message.backoff,
    )
    backoff = message.backoff or owner.lifecycle.backoff
    kind: Any = type(owner)
    actor = kind(
        name=name,
        family=Family(
            strategy=message.strategy,
            limits=Limits(max_restarts=message.max_restarts, within=message.within),
            reset_after=backoff.reset_after,
            nested=True,
        ),
        backoff=backoff,
        hang_timeout=owner.lifecycle.hang_timeout,
        context=context_below(owner, name, message),
    )
    return SupervisorChild(
        actor, restart=message.restart, claims=claims, **owner.lifecycle.new_futures()
    )
