"""`Supervisor`: an actor that creates, restarts and cleans up agent actors.

It holds its children in its own state, which its own thread alone touches; what an agent
has to say comes as a message. Creating or ending one agent never waits for another: each
request is a coroutine of its own.

A child goes through: starting → up → (gone → waiting for its restart → starting → …) →
ended. An incarnation reports its end from its dying thread, after its last use of the
mailbox; only then is a successor attached to that mailbox.

Guarantees:

*   No report is lost. They do not travel as messages, which a stop would drop with the
    rest of the mailbox, and they are taken before any message that came after them.
*   Whoever sees an agent's end, by its dead ref or by the answer to a stop, finds it
    forgotten here.
*   Each child is ended once, by a task of its own, within twice `_CHILD_GRACE`; who waits
    for that end may go away without changing it.
*   What goes wrong in handling a message that nobody waits for does not end the supervisor:
    its agents must not lose it to a typing error in a `tell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import pykka
from loguru import logger
from pykka._envelope import Envelope as AnyEnvelope
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._agent import (
    AgentActor,
    AgentDeadError,
    AgentRef,
    AgentSpec,
    AgentStartError,
    Delete,
    Disconnect,
    InvalidConfig,
    Life,
    Outcome,
)
from agy_actors._kernel import AsyncioActor, Envelope, ReplyFuture
from agy_actors._log import hush_sdk
from agy_actors._supervision import _exit
from agy_actors._supervision import _messages as messages
from agy_actors._supervision._decisions import Backoff, GiveUp, Limits, Restart, Strategy, decide
from agy_actors._supervision._ref import SupervisorRef
from agy_actors._supervision._specs import build_spec, check_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Supervisor"]

_CHILD_GRACE = 10.0
"""Seconds for an agent to end before its process is killed. As agy-bridge's."""

_ORDERLY = 1.0
"""Seconds for which a stop ends children one after another, the youngest first. Then it
tells all that are left at once, so that a stop takes no longer the more of them are stuck.
Arbitrary: an idle agent takes a few hundredths of a second."""

_ENDS = (_ActorStop, Disconnect, Delete)
"""The messages that ask for an agent's end."""

_names = count(1)


class _Ready(NamedTuple):
    actor: AgentActor


class _Gone(NamedTuple):
    actor: AgentActor


@dataclasses.dataclass(eq=False)
class _Child:
    spec: AgentSpec
    life: Life
    ref: AgentRef
    actor: AgentActor
    restart: Restart
    up: asyncio.Future[None]
    ended: asyncio.Future[None]
    creation: pykka.Future[Any] | None
    """What its creator waits for; `None` if nobody does."""
    failures: tuple[float, ...] = ()
    running: bool = True
    ending: asyncio.Task[None] | None = None
    waiting: asyncio.Task[None] | None = None
    held: list[AnyEnvelope[Any]] = dataclasses.field(default_factory=list)
    """What came while it waited for its restart, other than turns; oldest first."""


class _Reporter:
    """Carries an incarnation's reports from its thread to the supervisor's."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def ready(self, actor: AgentActor) -> None:
        self._supervisor.report(_Ready(actor))

    def gone(self, actor: AgentActor) -> None:
        self._supervisor.report(_Gone(actor))


class Supervisor(AsyncioActor):
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
        state_dir: str | Path | None = None,
    ) -> SupervisorRef:
        """Start a supervisor.

        Args:
            name: what it is called in logs.
            strategy: whom it restarts when an agent fails.
            max_restarts: how many restarts of an agent it allows within `within` seconds.
            within: the window of `max_restarts`, in seconds.
            backoff: how long it waits before a restart; by default not at all for the
                first failure, then exponentially, with jitter.
            state_dir: where conversations are kept. The same name there resumes the same
                conversation in the next run. `None` keeps them in a temporary folder
                that is removed when the supervisor ends.

        Raises:
            InvalidConfig: an argument cannot be as given. Nothing was started.
        """
        directory = _check(
            name=name,
            strategy=strategy,
            max_restarts=max_restarts,
            within=within,
            backoff=backoff,
            state_dir=state_dir,
        )
        hush_sdk()
        ref = super().start(
            name=name or f"supervisor-{next(_names)}",
            limits=Limits(max_restarts=max_restarts, within=within),
            backoff=backoff or Backoff(),
            state_dir=directory,
        )
        return cast("SupervisorRef", ref)

    def __init__(
        self, *, name: str, limits: Limits, backoff: Backoff, state_dir: Path | None
    ) -> None:
        super().__init__()
        self.name = name
        self._actor_ref = SupervisorRef(self)
        self.actor_inbox.owner = str(self)
        self._limits = limits
        self._backoff = backoff
        self._durable = state_dir is not None
        self._save_dir = state_dir or Path(tempfile.mkdtemp(prefix="agy_actors_"))
        self._children: dict[str, _Child] = {}
        self._numbers = count(1)
        self._reporter = _Reporter(self)
        self._reports: deque[_Ready | _Gone] = deque()
        self._all_ended: asyncio.Task[None] | None = None
        self._log = logger.bind(supervisor=name)
        ref = self._actor_ref
        _exit.register(self.actor_urn, lambda: ref.stop(block=False))

    def __str__(self) -> str:
        return f"supervisor {self.name!r}" if hasattr(self, "name") else super().__str__()

    @property
    def actor_ref(self) -> SupervisorRef:
        """The supervisor's ref."""
        return cast("SupervisorRef", self._actor_ref)

    def dead_error(self) -> Exception:
        error = AgentDeadError(f"{self} has ended")
        error.__cause__ = self._cause
        return error

    def caller_name(self) -> str:
        return str(self)

    async def on_stop(self) -> None:  # type: ignore[override] # the kernel awaits it
        await self._end_all()

    def _after_loop(self) -> None:
        if not self._durable:
            shutil.rmtree(self._save_dir, ignore_errors=True)
        _exit.unregister(self.actor_urn)
        super()._after_loop()

    # Messages.

    def on_receive(self, message: Any) -> Any:
        self._take_reports()
        told = self._handling is None or self._handling.reply_to is None
        try:
            response = self._handle_message(message)
        except Exception as error:
            if not told:
                raise
            self._log.error("A message told to {} failed: {}", self, type(error).__name__)
            return None
        return self._contained(response) if told and isinstance(response, Coroutine) else response

    def _handle_message(self, message: Any) -> Any:
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(
                f"{self} answers no {type(message).__name__}; it answers "
                + ", ".join(sorted(kind.__name__ for kind in self._HANDLERS))
            )
        return handler(self, message)

    async def _contained(self, response: Coroutine[Any, Any, Any]) -> None:
        try:
            await response
        except Exception as error:  # noqa: BLE001 (nobody waits, and the agents need us)
            self._log.error("A message told to {} failed: {}", self, type(error).__name__)

    def _create(self, message: messages.CreateAgent) -> Coroutine[Any, Any, AgentRef]:
        # No coroutine function: what comes after this message finds the child there.
        return self._create_for(
            None if self._handling is None else self._handling.reply_to, message
        )

    def _create_for(
        self, creation: pykka.Future[Any] | None, message: messages.CreateAgent
    ) -> Coroutine[Any, Any, AgentRef]:
        if message.name is not None:
            check_name(message.name)
            other = self._children.get(message.name)
            if other is not None and _is_abandoned(other.creation):
                self._end_child(other)
            if other is not None and (other.ending is not None or other.ref.actor_inbox.closed):
                return self._create_after(other, creation, message)
        return self._come_up(self._start_child(creation, message))

    async def _create_after(
        self, other: _Child, creation: pykka.Future[Any] | None, message: messages.CreateAgent
    ) -> AgentRef:
        """Create an agent as soon as nothing is left of the one that had its name."""
        await asyncio.shield(other.ended)
        return await self._create_for(creation, message)

    async def _come_up(self, child: _Child) -> AgentRef:
        try:
            await asyncio.shield(child.up)
        except asyncio.CancelledError:
            self._end_child(child)  # Whoever wanted it is gone, and has no ref to end it.
            raise
        return child.ref

    def _start_child(
        self, creation: pykka.Future[Any] | None, message: messages.CreateAgent
    ) -> _Child:
        if self._all_ended is not None:
            raise self.dead_error()
        name = message.name
        if name is None:
            name = next(n for n in map("agent-{}".format, self._numbers) if n not in self._children)
        if name in self._children:
            raise InvalidConfig(
                f"{self} has an agent {name!r} already; give another name, or end that one first"
            )
        spec = build_spec(
            message, name, supervisor=self.name, save_dir=self._save_dir, durable=self._durable
        )
        life = Life()
        actor = AgentActor(spec, life, self._reporter)
        ref = AgentRef(actor)
        actor._actor_ref = ref  # noqa: SLF001
        child = _Child(
            spec=spec,
            life=life,
            ref=ref,
            actor=actor,
            restart=message.restart,
            up=self._loop.create_future(),
            ended=self._loop.create_future(),
            creation=creation,
        )
        self._children[name] = child
        pykka.ActorRegistry.register(ref)
        try:
            actor.begin()
        except (OSError, RuntimeError) as error:  # No descriptor or no thread to be had.
            actor.error = error
            self._decide(child)
        return child

    def _shut_down_agent(self, message: messages.ShutdownAgent) -> Coroutine[Any, Any, None] | None:
        # No coroutine function: what comes after this message finds the end begun.
        child = self._find(message.agent)
        if child is None:
            return None
        self._end_child(child)
        return self._wait_out(child.ended)

    def _find(self, agent: str | AgentRef) -> _Child | None:
        if isinstance(agent, AgentRef):
            for child in self._children.values():
                if child.ref.actor_urn == agent.actor_urn:
                    return child
            if not agent.is_alive():
                return None  # It has ended: ending it again is safe.
            raise InvalidConfig(f"{agent} is not an agent of {self}")
        named = self._children.get(agent) if isinstance(agent, str) else None
        if named is None:
            known = ", ".join(map(repr, self._children)) or "none"
            raise InvalidConfig(f"{self} has no agent {agent!r}; it has {known}")
        return named

    def _get_children(self, _: messages.GetChildren) -> dict[str, AgentRef]:
        return {name: child.ref for name, child in self._children.items()}

    def _get_active_agent_count(self, _: messages.GetActiveAgentCount) -> int:
        return len(self._children)

    async def _shut_down(self, _: messages.Shutdown) -> None:
        await self._wait_out(self._end_all())
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

    # Reports.

    def report(self, report: _Ready | _Gone) -> None:
        """Take a report, from any thread."""
        self._reports.append(report)
        with contextlib.suppress(RuntimeError):  # The loop is closed: an abandoned agent's.
            self._loop.call_soon_threadsafe(self._take_reports)

    def _take_reports(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            child = self._children.get(report.actor.spec.name)
            if child is None or child.actor is not report.actor:
                continue
            if isinstance(report, _Gone):
                child.running = False
                self._decide(child)
            elif not child.up.done():
                child.up.set_result(None)

    def _decide(self, child: _Child) -> None:
        outcome = child.actor.outcome
        if not child.up.done() and child.actor.error is not None and child.ending is None:
            cause = child.actor.error
            error = AgentStartError(f"agent {child.spec.name!r} did not start: {_reason(child)}")
            error.__cause__ = cause
            self._forget(child, error)
        elif (
            child.ending is not None
            or self._all_ended is not None
            or outcome is Outcome.ENDED
            or child.ref.actor_inbox.closed  # It crashed while it was stopping.
        ):
            self._forget(child, None)
        elif outcome is Outcome.RENEWED:
            self._begin_again(child)
        else:
            try:
                decision = decide(
                    failures=child.failures,
                    now=self._loop.time(),
                    restart=child.restart,
                    limits=self._limits,
                    backoff=self._backoff,
                )
            except Exception as error:  # noqa: BLE001 (a wait is the user's own function)
                decision = GiveUp(f"its backoff raised {type(error).__name__}: {error}")
            if isinstance(decision, GiveUp):
                self._give_up(child, decision.why)
                return
            child.failures = decision.failures
            self._log.bind(agent=child.spec.name).warning(
                "Agent failed ({}), restarts in {:.2f} s",
                type(child.actor.error).__name__,
                decision.delay,
            )
            if decision.delay > 0:
                self._wait_for_restart(child, decision.delay)
            else:
                self._begin_again(child)

    def _wait_for_restart(self, child: _Child, delay: float) -> None:
        child.waiting = self._loop.create_task(self._restart_after(child, delay))
        # Nobody drains its mailbox meanwhile. But who wants its end must not wait for that.
        child.ref.actor_inbox.attach(self._loop, lambda: self._look_after(child))

    async def _restart_after(self, child: _Child, delay: float) -> None:
        await asyncio.sleep(delay)
        child.waiting = None
        self._begin_again(child)

    def _look_after(self, child: _Child) -> None:
        if child.waiting is None:
            return  # Called before its restart, and run after it.
        wanted = False
        while (item := child.ref.actor_inbox.take(turns=False)) is not None:
            # What nobody waits for comes bare.
            envelope = item if isinstance(item, AnyEnvelope) else Envelope(item)
            child.held.append(envelope)
            wanted = wanted or isinstance(envelope.message, _ENDS)
        if wanted:
            child.waiting.cancel()
            child.waiting = None
            self._begin_again(child)  # It ends as it comes up, in its own way.

    def _hand_back(self, child: _Child) -> None:
        """Leave the mailbox of a child that waited as if nobody had looked after it."""
        inbox = child.ref.actor_inbox
        inbox.detach()
        while child.held:
            inbox.put_back(child.held.pop())

    def _begin_again(self, child: _Child) -> None:
        self._hand_back(child)
        child.life.restarts += 1
        child.actor = AgentActor(child.spec, child.life, self._reporter).succeed(child.ref)
        child.running = True
        try:
            child.actor.begin()
        except (OSError, RuntimeError) as error:  # No descriptor or no thread to be had.
            child.actor.error = error
            child.running = False
            self._give_up(child, "it could not be started again")

    def _give_up(self, child: _Child, why: str) -> None:
        error = AgentDeadError(
            f"agent {child.spec.name!r} was given up: {why}; last cause: {_reason(child)}"
        )
        error.__cause__ = child.actor.error
        self._log.bind(agent=child.spec.name).error("Agent given up: {}", why)
        self._forget(child, error)

    def _forget(self, child: _Child, error: Exception | None) -> None:
        if child.ended.done():
            return
        self._children.pop(child.spec.name, None)
        if not child.running:
            self._hand_back(child)
        child.ref.bury(error or AgentDeadError(f"{child.ref} has ended"))
        if not child.up.done():
            child.up.set_exception(
                error or AgentStartError(f"agent {child.spec.name!r} was ended while it started")
            )
            child.up.exception()  # Retrieved: its creator may have gone.
        child.ended.set_result(None)

    # Ending.

    def _end_all(self) -> asyncio.Task[None]:
        """End all children, once. There are no more of them from now on."""
        if self._all_ended is None:
            self._all_ended = self._loop.create_task(self._end_children())
        return self._all_ended

    async def _end_children(self) -> None:
        children = list(reversed(self._children.values()))
        orderly_until = self._loop.time() + _ORDERLY
        for child in children:
            self._end_child(child)
            left = orderly_until - self._loop.time()
            if left > 0:
                await asyncio.wait([child.ended], timeout=left)
        if children:
            await asyncio.wait([child.ended for child in children])

    def _end_child(self, child: _Child) -> None:
        """See to it that a child ends, whatever it does."""
        if child.ending is not None or child.ended.done():
            return
        if child.waiting is not None:
            child.waiting.cancel()
            child.waiting = None
        child.ending = self._loop.create_task(self._see_to_end(child))
        if child.running:
            child.ref.ask(Disconnect(), block=False)
        else:
            self._forget(child, None)

    async def _see_to_end(self, child: _Child) -> None:
        log = self._log.bind(agent=child.spec.name)
        await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if child.ended.done():
            return
        log.warning("Agent does not end; its process is killed")
        child.actor.kill()
        await asyncio.wait([child.ended], timeout=_CHILD_GRACE)
        if not child.ended.done():
            log.error("Agent's thread does not end; abandoned")
            abandoned = child.actor
            self._forget(child, None)
            abandoned.forsake()  # The turn that holds its thread up is answered, too.

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        messages.CreateAgent: _create,
        messages.ShutdownAgent: _shut_down_agent,
        messages.GetChildren: _get_children,
        messages.GetActiveAgentCount: _get_active_agent_count,
        messages.Shutdown: _shut_down,
    }


def _is_abandoned(creation: pykka.Future[Any] | None) -> bool:
    return isinstance(creation, ReplyFuture) and creation.cancelled()


def _reason(child: _Child) -> str:
    error = child.actor.error
    text = "unknown" if error is None else f"{type(error).__name__}: {error}"
    return child.actor.redact(text)


def _check(
    *,
    name: object,
    strategy: object,
    max_restarts: object,
    within: object,
    backoff: object,
    state_dir: object,
) -> Path | None:
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise InvalidConfig(f"a supervisor's name is text, got {name!r}")
    if not isinstance(strategy, Strategy):
        raise InvalidConfig(f"strategy is one of agy_actors.Strategy, got {strategy!r}")
    if not isinstance(max_restarts, int) or max_restarts < 0:
        raise InvalidConfig(f"max_restarts is a whole number from 0, got {max_restarts!r}")
    if not isinstance(within, int | float) or not within > 0:
        raise InvalidConfig(f"within is a number of seconds above 0, got {within!r}")
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidConfig(f"backoff is an agy_actors.Backoff, got {backoff!r}")
    if state_dir is None:
        return None
    if not isinstance(state_dir, str | os.PathLike):
        raise InvalidConfig(f"state_dir is the path of a folder, got {state_dir!r}")
    directory = Path(state_dir).expanduser().resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfig(f"state_dir {directory} cannot be used: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InvalidConfig(f"state_dir {directory} cannot be used: it cannot be written to")
    return directory
