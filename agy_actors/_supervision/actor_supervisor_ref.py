"""`ActorSupervisorRef`: a reference to a supervisor of actors of any class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from agy_actors._actors.arguments import check_flag
from agy_actors._supervision.actor_creation import CreateActor, GetActors
from agy_actors._supervision.actor_pool import CreateActorPool
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.routing import Routing
from agy_actors._supervision.supervisor_messages import GetTopic, ShutdownAgent

if TYPE_CHECKING:
    from agy_actors._actors.actor import AsyncioActor
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._supervision.actor_pool_ref import ActorPoolRef
    from agy_actors._supervision.topic import Topic

__all__ = ["ActorSupervisorRef"]


class ActorSupervisorRef(OwnerRef):
    """A reference to a supervisor of actors of any class. Thread-safe."""

    @overload
    def create_actor(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        name: str | None = None,
        restart: Restart = Restart.PERMANENT,
        block: Literal[True] = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncioActorRef: ...

    @overload
    def create_actor(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        name: str | None = None,
        restart: Restart = Restart.PERMANENT,
        block: Literal[False],
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ReplyFuture[AsyncioActorRef]: ...

    @overload
    def create_actor(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        name: str | None = None,
        restart: Restart = Restart.PERMANENT,
        block: bool,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncioActorRef | ReplyFuture[AsyncioActorRef]: ...

    def create_actor(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        name: str | None = None,
        restart: Restart = Restart.PERMANENT,
        block: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncioActorRef | ReplyFuture[AsyncioActorRef]:
        """Create a supervised actor, and wait until its `on_start` has returned.

        When the actor crashes, a new incarnation with the same arguments replaces it, with the same
        ref and mailbox: waiting messages are not lost. It crashes when a message that was *told*
        raises, when `on_start` or its constructor raises in a restart, and when its loop does not
        respond for the supervisor's `hang_timeout`. An error in a message that was *asked* is only
        sent to the asker. `stop()`, also called by itself, ends it for good.

        The constructor runs on the supervisor's thread and must return soon. There, `actor_ref` is
        not yet the actor's ref; use it in `on_start` and later.

        Args:
            actor_class: the actor's class.
            args: the positional arguments of its constructor, the same for each incarnation.
            name: its name under this supervisor; `None` generates one. Events call it `agent`.
            restart: whether it is restarted after a failure.
            block: wait until it is ready and return its ref; else return a `ReplyFuture` of the
                ref, which raises the errors below. Cancelling the future ends the actor.
            timeout: the seconds to wait if blocking, or `None` to wait as long as the start takes.
            kwargs: the keyword arguments of its constructor. If they have one of the names above,
                send the message `CreateActor` instead.

        Raises:
            InvalidConfig: the class is not an `AsyncioActor`, or the name is invalid or taken.
                Nothing was started.
            ActorStartError: the constructor or `on_start` failed. Nothing of the actor is left.
            AskTimeout: it was not ready in time, and was ended.
            ActorDeadError: the supervisor has ended.
        """
        message = CreateActor(actor_class, args, kwargs, name, restart)
        return self.ask(message, block=block, timeout=timeout)

    @overload
    def create_actor_pool(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        size: int = 4,
        name: str | None = None,
        routing: Routing = Routing.SHORTEST_QUEUE,
        block: Literal[True] = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ActorPoolRef: ...

    @overload
    def create_actor_pool(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        size: int = 4,
        name: str | None = None,
        routing: Routing = Routing.SHORTEST_QUEUE,
        block: Literal[False],
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ReplyFuture[ActorPoolRef]: ...

    @overload
    def create_actor_pool(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        size: int = 4,
        name: str | None = None,
        routing: Routing = Routing.SHORTEST_QUEUE,
        block: bool,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ActorPoolRef | ReplyFuture[ActorPoolRef]: ...

    def create_actor_pool(
        self,
        actor_class: type[AsyncioActor],
        *args: Any,
        size: int = 4,
        name: str | None = None,
        routing: Routing = Routing.SHORTEST_QUEUE,
        block: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ActorPoolRef | ReplyFuture[ActorPoolRef]:
        """Create a pool of identical actors, and wait until all of them are ready.

        The message `CreateActorPool` has further options: scaling, capacity, restart intensity.

        Args:
            actor_class: the class of the members.
            args: the positional arguments of their constructor, the same for each member.
            size: the number of members.
            name: its name under this supervisor; `None` generates one.
            routing: how it chooses the member for a message.
            block: wait until all members are ready and return the pool's ref; else return a
                `ReplyFuture` of the ref.
            timeout: the seconds to wait if blocking, or `None` to wait as long as the starts take.
            kwargs: the keyword arguments of their constructor.

        Raises:
            InvalidConfig: an argument is invalid, or the name is taken. Nothing was started.
            ActorStartError: a member did not start. Nothing of the pool is left.
            AskTimeout: the pool was not ready in time, and was ended.
            ActorDeadError: the supervisor has ended.
        """
        message = CreateActorPool(actor_class, args, kwargs, size, name, routing)
        return self.ask(message, block=block, timeout=timeout)

    @overload
    def topic(self, name: str, *, block: Literal[True] = True) -> Topic: ...

    @overload
    def topic(self, name: str, *, block: Literal[False]) -> ReplyFuture[Topic]: ...

    @overload
    def topic(self, name: str, *, block: bool) -> Topic | ReplyFuture[Topic]: ...

    def topic(self, name: str, *, block: bool = True) -> Topic | ReplyFuture[Topic]:
        """Return the topic with a name; create it if it does not exist.

        Args:
            name: its name under this supervisor, with the rules for the names of children.
            block: wait for the topic and return it; else return its `ReplyFuture`.

        Raises:
            InvalidConfig: the name is invalid.
            ActorDeadError: the supervisor has ended.
        """
        return self.ask(GetTopic(name), block=block)

    @overload
    def actors(self, *, block: Literal[True] = True) -> dict[str, AsyncioActorRef]: ...

    @overload
    def actors(self, *, block: Literal[False]) -> ReplyFuture[dict[str, AsyncioActorRef]]: ...

    @overload
    def actors(
        self, *, block: bool
    ) -> dict[str, AsyncioActorRef] | ReplyFuture[dict[str, AsyncioActorRef]]: ...

    def actors(
        self, *, block: bool = True
    ) -> dict[str, AsyncioActorRef] | ReplyFuture[dict[str, AsyncioActorRef]]:
        """Return the actors that `create_actor` created by name, in the order of their start."""
        return self.ask(GetActors(), block=block)

    @overload
    def shutdown_agent(
        self,
        agent: str | AsyncioActorRef,
        *,
        drain: bool = False,
        block: Literal[True] = True,
        timeout: float | None = None,
    ) -> None: ...

    @overload
    def shutdown_agent(
        self,
        agent: str | AsyncioActorRef,
        *,
        drain: bool = False,
        block: Literal[False],
        timeout: float | None = None,
    ) -> ReplyFuture[None]: ...

    @overload
    def shutdown_agent(
        self,
        agent: str | AsyncioActorRef,
        *,
        drain: bool = False,
        block: bool,
        timeout: float | None = None,
    ) -> ReplyFuture[None] | None: ...

    def shutdown_agent(
        self,
        agent: str | AsyncioActorRef,
        *,
        drain: bool = False,
        block: bool = True,
        timeout: float | None = None,
    ) -> ReplyFuture[None] | None:
        """End a child of any kind, by force if necessary, and wait until it has ended completely.

        If the child is given by its ref and has ended before, this does nothing.

        Args:
            agent: its name or its ref. A supervisor or a pool is ended with all its children.
            drain: first finish its current and waiting turns, or a plain actor's messages, within
                its `stop_timeout`.
            block: wait for its end; else return a `ReplyFuture` of it. Cancelling the future does
                not cancel the end.
            timeout: the seconds to wait if blocking. The child still ends after a timeout.

        Raises:
            AskTimeout: it did not end in time. It ends nevertheless; calling this again without
                `drain` ends it without waiting for turns.
            InvalidConfig: there is no such child. The error names the children.
            InvalidArgument: `drain` or `block` is not a `bool`, or the timeout not a number of
                seconds >= 0. No child ends.
        """
        message = ShutdownAgent(agent, drain)
        if not check_flag("block", block):
            return self._put_order(message)
        self._order(message, timeout)
        return None
