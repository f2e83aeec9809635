"""`Supervisor`: an actor that creates, restarts and cleans up agents, and supervisors below it.

What it is asked for is here; how it looks after the children that come of it, in
`_parent`. Creating or ending one child never waits for another: each request is a
coroutine of its own.

Guarantee: what goes wrong in handling a message that nobody waits for does not end the
supervisor. Its agents must not lose it to a typing error in a `tell`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import pykka

from agy_actors._agent import (
    AgentRef,
    GetPace,
    InvalidConfig,
    PaceBoard,
    PaceKeeper,
    make_private_temporary_folder,
    unknown_message,
)
from agy_actors._agent._settings import STOP_GRACE, conversations_per_process, start_timeout
from agy_actors._dotenv import DOTENV_SWITCH, load_dotenv
from agy_actors._events import DeadLetter, EventHub, Subscription
from agy_actors._harness import HarnessHost
from agy_actors._kernel import (
    AgyActorsError,
    InvalidArgument,
    ThreadHost,
    UnknownMessage,
    check_integer,
    current_host,
    find_handler,
    shown,
)
from agy_actors._log import hush_sdk
from agy_actors._supervision import _exit
from agy_actors._supervision import _messages as messages
from agy_actors._supervision._children import AgentChild, Child, SupervisorChild
from agy_actors._supervision._decisions import Backoff, Family, Limits, Strategy
from agy_actors._supervision._open_files import OpenFiles
from agy_actors._supervision._parent import ParentActor, Place
from agy_actors._supervision._pool_messages import CreatePool, Job
from agy_actors._supervision._pool_ref import PoolRef
from agy_actors._supervision._ref import OwnerRef, SupervisorRef
from agy_actors._supervision._specs import build_spec, check_name, check_supervisor
from agy_actors._supervision.pool_arguments import check_pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agy_actors._agent import AgentSpec

__all__ = ["Supervisor"]

R = TypeVar("R", AgentRef, OwnerRef, SupervisorRef, PoolRef)

_LAST_EVENTS = 1.0
"""Seconds for subscribers to take in the last events. Arbitrary; one that blocks is left."""


class Supervisor(ParentActor):
    """Creates agents, restarts those that crash, and leaves nothing behind.

    Start it with `Supervisor.start(...)`, which returns a `SupervisorRef`.
    """

    use_daemon_thread: ClassVar[bool] = True  # The exit hook ends it in order.

    stop_grace: ClassVar[float | None] = 0.0
    """A stop does not wait for agents that are still coming up: it ends them."""

    @classmethod
    def start(  # the constructor's arguments, by name
        cls,
        *,
        name: str | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        backoff: Backoff | None = None,
        hang_timeout: float | None = 60.0,
        turn_spacing: float = 0.0,
        state_dir: str | Path | None = None,
        max_conversations_per_process: int | None = None,
    ) -> SupervisorRef:
        """Start a supervisor.

        What the nearest `.env` file sets and the environment does not is set now, such as
        `GEMINI_API_KEY`; not if `AGY_ACTORS_DOTENV` is 0.

        Args:
            name: what it is called in logs: 1 to 100 letters, digits, spaces or any of
                ``. @ + _ -``, as for agents; `None` makes one up.
            strategy: whom it restarts when a child fails.
            max_restarts: how many restarts of a child it allows within `within` seconds.
            within: the window of `max_restarts`, in seconds.
            backoff: how long it waits before a restart; by default not at all for the
                first failure, then exponentially, with jitter.
            hang_timeout: the seconds for which the loop of an agent may be held up, by a
                tool that blocks it, say, before the agent is replaced; `None` for ever.
            turn_spacing: the least seconds between turn starts of agents of one API key.
            state_dir: where conversations are kept. The same name there resumes the same
                conversation in the next run. It is created with mode 0700 if it does not
                exist; if others can read an existing one, a WARNING says so. `None` keeps
                conversations in a temporary folder that is removed when the supervisor ends.
            max_conversations_per_process: how many agents share a `localharness` process
                at most; `None` is `AGY_ACTORS_CONVERSATIONS_PER_PROCESS`, or 16. With 1 each
                has its own. Agents with MCP servers have their own in any case.

        Raises:
            InvalidConfig: an argument cannot be as given. Nothing was started.
            AgentDeadError: the program's main thread has ended.
        """
        _exit.check_not_ending()
        most = max_conversations_per_process
        if most is None:
            most = conversations_per_process()
        directory = check_supervisor(
            name=name,
            strategy=strategy,
            max_restarts=max_restarts,
            within=within,
            backoff=backoff,
            hang_timeout=hang_timeout,
            turn_spacing=turn_spacing,
            state_dir=state_dir,
            max_conversations_per_process=most,
        )
        hush_sdk()
        try:
            load_dotenv()
        except OSError as error:
            raise InvalidConfig(
                f"{error}; mend it, move it away, or set {DOTENV_SWITCH}=0"
            ) from error
        if name is None:
            name = f"supervisor-{current_host().number('supervisor')}"
        name = check_name(name)
        backoff = backoff or Backoff()
        host = (
            None
            if most == 1
            else HarnessHost(name, most=most, grace=STOP_GRACE, boot_timeout=start_timeout)
        )
        ref = super().start(
            name=name,
            family=Family(
                strategy=strategy,
                limits=Limits(max_restarts=max_restarts, within=within),
                reset_after=backoff.reset_after,
            ),
            backoff=backoff,
            hang_timeout=hang_timeout,
            place=Place(
                reporter=None,
                path="",
                save_dir=directory or make_private_temporary_folder(),
                durable=directory is not None,
                hub=EventHub(),
                pace=PaceBoard(turn_spacing),
                host=None if host is None else host.actor_ref,
            ),
            turn_spacing=turn_spacing,
            host=host,
        )
        return cast("SupervisorRef", ref)

    def __init__(
        self, *, turn_spacing: float = 0.0, host: HarnessHost | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._spacing = turn_spacing
        self._open_files = OpenFiles()
        self._processes = host
        self._keeper: PaceKeeper | None = None
        self._numbers = count(1)
        # A simulated one ends with its simulation: nothing would stop it when that is over.
        if self._place.reporter is None and isinstance(self._host, ThreadHost):
            ref = self.actor_ref
            _exit.register(self.actor_urn, lambda: ref.stop(block=False))

    def on_start(self) -> None:
        place = self._place
        if place.reporter is None:
            self._keeper = PaceKeeper(place.pace, self._spacing, self.name, self._hub)
            self._keeper.begin()
            if self._processes is not None:
                self._processes.begin()
        else:
            place.reporter.ready(self)
        super().on_start()

    async def on_stop(self) -> None:  # type: ignore[override] # the kernel awaits it
        await super().on_stop()
        if self._processes is not None:
            await self._processes.actor_ref.stop(block=False)
        ends = [subscription.end() for subscription in self._hub.subscriptions]
        if self._keeper is not None:
            ends.append(self._keeper.actor_ref.stop(block=False))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS):
                for end in ends:
                    await end

    def _after_loop(self) -> None:
        if self._place.reporter is None:
            _exit.unregister(self.actor_urn)
        super()._after_loop()

    # Messages.

    def on_receive(self, message: Any) -> Any:
        self._take_reports()
        told = self._handling is None or self._handling.reply_to is None
        try:
            response = self._handle_message(message)
        except BaseException as error:
            if not told:
                raise
            self._drop_told(message, error)
            return None
        if told and isinstance(response, Coroutine):
            return self._contained(message, response)
        return response

    def _handle_message(self, message: Any) -> Any:
        handler = find_handler(self.HANDLERS, message)
        if handler is None:
            # A job is what the ref of a pool makes of a turn.
            kinds = [kind.__name__ for kind in self.HANDLERS if not issubclass(kind, Job)]
            raise unknown_message(self, message, kinds)
        return handler(self, message)

    async def _contained(self, message: Any, response: Coroutine[Any, Any, Any]) -> None:
        try:
            await response
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 (nobody waits, and the agents need us)
            self._drop_told(message, error)

    def on_dead_letter(self, message: Any) -> None:
        kind = _kind(message)
        self._log.warning("{} ended before it handled a {}", self, kind)
        self._publish_dead_letter(kind)

    def _drop_told(self, message: Any, error: BaseException) -> None:
        """Note that a message failed that was told and not asked. The supervisor goes on.

        On any thread.
        """
        kind = _kind(message)
        if isinstance(error, AgyActorsError):  # The message is the cause.
            # Other errors may quote a configuration, and with it an API key.
            quotable = isinstance(error, UnknownMessage | InvalidArgument)
            words = f"{type(error).__name__}{f': {error}' if quotable else ''}"
            self._log.warning("A {} that was told to {} is dropped: {}", kind, self, words)
        else:
            self._log.error("A {} told to {} failed: {}", kind, self, type(error).__name__)
        self._publish_dead_letter(kind)

    def _publish_dead_letter(self, kind: str) -> None:
        if self._hub.active:
            self._hub.publish(DeadLetter(supervisor=self.name, agent=self.name, message=kind))

    def _create_agent(self, message: messages.CreateAgent) -> Coroutine[Any, Any, AgentRef]:
        return cast("Coroutine[Any, Any, AgentRef]", self._create(message, self._make_agent))

    def _create_supervisor(
        self, message: messages.CreateSupervisor
    ) -> Coroutine[Any, Any, SupervisorRef]:
        return cast(
            "Coroutine[Any, Any, SupervisorRef]", self._create(message, self._make_supervisor)
        )

    def _create_pool(self, message: CreatePool) -> Coroutine[Any, Any, PoolRef]:
        return cast("Coroutine[Any, Any, PoolRef]", self._create(message, self._make_pool))

    def _create(
        self, message: messages.Create, make: Callable[..., Child]
    ) -> Coroutine[Any, Any, AgentRef | OwnerRef]:
        # No coroutine function: what comes after this message finds the child there.
        creation = None if self._handling is None else self._handling.reply_to
        return self._create_for(creation, message, make)

    def _create_for(
        self,
        creation: pykka.Future[Any] | None,
        message: messages.Create,
        make: Callable[..., Child],
    ) -> Coroutine[Any, Any, AgentRef | OwnerRef]:
        if message.name is not None:
            check_name(message.name)
            other = self._children.get(message.name)
            if other is not None and other.was_abandoned:
                self._end_child(other)
            if other is not None and (other.ending or other.ref.actor_inbox.closed):
                return self._create_after(other, creation, message, make)
        if self._all_ended is not None:
            raise self.dead_error()
        child = make(self._free_name(message), message, creation)
        self._add(child)
        return self._come_up(child)

    async def _create_after(
        self,
        other: Child,
        creation: pykka.Future[Any] | None,
        message: messages.Create,
        make: Callable[..., Child],
    ) -> AgentRef | OwnerRef:
        """Create a child as soon as nothing is left of the one that had its name."""
        await asyncio.shield(other.ended)
        return await self._create_for(creation, message, make)

    async def _come_up(self, child: Child) -> AgentRef | OwnerRef:
        try:
            await asyncio.shield(child.up)
        except asyncio.CancelledError:
            self._end_child(child)  # Whoever wanted it is gone, and has no ref to end it.
            raise
        return child.ref

    def _free_name(self, message: messages.Create) -> str:
        name = message.name
        if name is None:
            names = map(f"{message.kind}-{{}}".format, self._numbers)
            name = next(name for name in names if name not in self._children)
        if name in self._children:
            raise InvalidConfig(
                f"{self} has a child {name!r} already; give another name, or end that one first"
            )
        return name

    def _spec(self, name: str, message: messages.CreateAgent) -> AgentSpec:
        place = self._place
        return build_spec(
            message,
            name,
            supervisor=self.name,
            path=place.path + name,
            save_dir=place.save_dir,
            durable=place.durable,
            hub=self._hub,
            pace=place.pace,
            host=place.host,
        )

    def _make_agent(
        self, name: str, message: messages.CreateAgent, creation: pykka.Future[Any] | None
    ) -> AgentChild:
        spec = self._spec(name, message)
        self._open_files.make_room(f"agent {name!r}", self._count_starting)
        return AgentChild(
            spec,
            self._reporter,
            restart=message.restart,
            up=self._loop.create_future(),
            ended=self._loop.create_future(),
            creation=creation,
        )

    def _count_starting(self) -> int:
        return sum(not child.up.done() for child in self._children.values())

    def _make_supervisor(
        self, name: str, message: messages.CreateSupervisor, creation: pykka.Future[Any] | None
    ) -> SupervisorChild:
        check_supervisor(
            name=name,
            strategy=message.strategy,
            max_restarts=message.max_restarts,
            within=message.within,
            backoff=message.backoff,
        )
        backoff = message.backoff or self._backoff
        actor = Supervisor(
            name=name,
            family=Family(
                strategy=message.strategy,
                limits=Limits(max_restarts=message.max_restarts, within=message.within),
                reset_after=backoff.reset_after,
                nested=True,
            ),
            backoff=backoff,
            hang_timeout=self._hang_timeout,
            place=self._below(name),
        )
        return SupervisorChild(
            actor,
            restart=message.restart,
            up=self._loop.create_future(),
            ended=self._loop.create_future(),
            creation=creation,
        )

    def _make_pool(
        self, name: str, message: CreatePool, creation: pykka.Future[Any] | None
    ) -> SupervisorChild:
        from agy_actors._supervision._pool import Pool  # noqa: PLC0415 (is one of us)

        check_pool(message)
        check_supervisor(
            name=name,
            strategy=Strategy.ONE_FOR_ONE,
            max_restarts=message.max_restarts,
            within=message.within,
            backoff=None,
        )
        # What is wrong with its members is said before any of them starts.
        self._spec(name, messages.create_member(message, name))
        return SupervisorChild(
            Pool(
                message,
                name=name,
                backoff=self._backoff,
                hang_timeout=self._hang_timeout,
                place=self._below(name),
            ),
            restart=message.restart,
            up=self._loop.create_future(),
            ended=self._loop.create_future(),
            creation=creation,
        )

    def _below(self, name: str) -> Place:
        return self._place._replace(
            reporter=self._reporter, path=f"{self._place.path}{name}/", hub=self._hub
        )

    def _shut_down_child(self, message: messages.ShutdownAgent) -> Coroutine[Any, Any, None] | None:
        # No coroutine function: what comes after this message finds the end begun.
        child = self._find(message.agent)
        if child is None:
            return None
        self._end_child(child, drain=message.drain)
        return self._wait_out(child.ended)

    def _find(self, wanted: str | AgentRef | OwnerRef) -> Child | None:
        if isinstance(wanted, AgentRef | OwnerRef):
            for child in self._children.values():
                if child.ref.actor_urn == wanted.actor_urn:
                    return child
            if not wanted.is_alive():
                return None  # It has ended: ending it again is safe.
            raise InvalidConfig(f"{wanted} is not a child of {self}")
        named = self._children.get(wanted) if isinstance(wanted, str) else None
        if named is None:
            known = ", ".join(map(repr, self._children)) or "none"
            raise InvalidConfig(f"{self} has no agent {wanted!r}; it has {known}")
        return named

    def _living(self, kind: type[R]) -> dict[str, R]:
        """Return the children of a kind, without those that end: they are dead to who asks."""
        refs = {name: child.ref for name, child in self._children.items()}
        return {name: ref for name, ref in refs.items() if isinstance(ref, kind) and ref.is_alive()}

    def _get_children(self, _: messages.GetChildren) -> dict[str, AgentRef]:
        return self._living(AgentRef)

    def _get_supervisors(self, _: messages.GetSupervisors) -> dict[str, SupervisorRef]:
        return self._living(SupervisorRef)

    def _get_pools(self, _: messages.GetPools) -> dict[str, PoolRef]:
        return self._living(PoolRef)

    async def _get_active_agent_count(self, message: messages.GetActiveAgentCount) -> int:
        below = [ref.ask(message, block=False) for ref in self._living(OwnerRef).values()]
        total = len(self._living(AgentRef))
        for answer in below:
            with contextlib.suppress(pykka.ActorDeadError):  # It ended meanwhile.
                total += await answer
        return total

    async def _get_pace(self, message: GetPace) -> Any:
        keeper = self._place.pace.keeper
        return {} if keeper is None else await keeper.ask(message, block=False)

    def _subscribe(self, message: messages.Subscribe) -> Subscription:
        if not callable(message.callback):
            raise InvalidConfig(
                f"a subscriber is a function of an event, got {shown(message.callback)}"
            )
        capacity = check_integer("capacity", message.capacity, least=1, error=InvalidConfig)
        subscription = Subscription(message.callback, capacity)
        self._hub.add(subscription)
        return subscription

    async def _shut_down(self, message: messages.Shutdown) -> None:
        await self._wait_out(self._end_all(drain=message.drain))
        with contextlib.suppress(pykka.ActorDeadError):  # Somebody else stopped it meanwhile.
            self.stop()

    async def _wait_out(self, end: asyncio.Future[None]) -> None:
        """Wait for an end, to the last also when a stop of the supervisor comes between."""
        try:
            await asyncio.shield(end)
        except asyncio.CancelledError:
            if not self._cut_off:
                raise  # Whoever asked has gone. The end goes on.
            self._end_all()
            await asyncio.shield(end)

    HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        messages.CreateAgent: _create_agent,
        messages.CreateSupervisor: _create_supervisor,
        CreatePool: _create_pool,
        messages.ShutdownAgent: _shut_down_child,
        messages.GetChildren: _get_children,
        messages.GetPools: _get_pools,
        messages.GetSupervisors: _get_supervisors,
        messages.GetActiveAgentCount: _get_active_agent_count,
        messages.Subscribe: _subscribe,
        messages.Shutdown: _shut_down,
        GetPace: _get_pace,
    }
    """What answers each type of message."""


def _kind(message: object) -> str:
    """Return the type of a message, which a pool's job has inside."""
    return type(message.message if isinstance(message, Job) else message).__name__
