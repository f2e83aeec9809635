"""`Supervisor`: an actor that creates, restarts and cleans up agent actors.

It holds its children in its own state, which its own thread alone touches; what an agent
has to say comes as a message. Creating or ending one agent never waits for another: each
request is a coroutine of its own.

A child goes through: starting → up → (gone → waiting for its restart → starting → …) →
ended. An incarnation reports its end from its dying thread, after its last use of the
mailbox; only then is a successor attached to that mailbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import pykka
from loguru import logger

from agy_actors._agent import (
    AgentActor,
    AgentDeadError,
    AgentRef,
    AgentSpec,
    AgentStartError,
    Disconnect,
    InvalidConfig,
    Life,
    Outcome,
)
from agy_actors._kernel import AsyncioActor
from agy_actors._log import hush_sdk
from agy_actors._supervision import _exit
from agy_actors._supervision import _messages as messages
from agy_actors._supervision._decisions import Backoff, GiveUp, Limits, Restart, Strategy, decide
from agy_actors._supervision._ref import SupervisorRef
from agy_actors._supervision._specs import build_spec, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Supervisor"]

_CHILD_GRACE = 10.0
"""Seconds for an agent to end before its process is killed. As agy-bridge's."""

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
    ended: asyncio.Event
    failures: tuple[float, ...] = ()
    running: bool = True
    ending: bool = False
    waiting: asyncio.Task[None] | None = None


class _Reporter:
    """Carries an incarnation's reports from its thread to the supervisor's."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def ready(self, actor: AgentActor) -> None:
        self._supervisor.report(_Report(_Ready(actor)))

    def gone(self, actor: AgentActor) -> None:
        self._supervisor.report(_Report(_Gone(actor)))


class _Report(NamedTuple):
    what: _Ready | _Gone


class Supervisor(AsyncioActor):
    """Creates agents, restarts those that crash, and leaves nothing behind.

    Start it with `Supervisor.start(...)`, which returns a `SupervisorRef`.
    """

    use_daemon_thread: ClassVar[bool] = True  # The exit hook ends it in order.

    @classmethod
    def start(  # type: ignore[override] # the constructor's arguments, by name
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
        directory = _check(strategy, max_restarts, within, backoff, state_dir)
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
        self._shutting_down = False
        self._log = logger.bind(supervisor=name)
        _exit.register(self.actor_urn, self.actor_ref.stop)

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

    async def on_stop(self) -> None:
        await self._end_children()

    def _after_loop(self) -> None:
        if not self._durable:
            shutil.rmtree(self._save_dir, ignore_errors=True)
        _exit.unregister(self.actor_urn)
        super()._after_loop()

    # Messages.

    def on_receive(self, message: Any) -> Any:
        handler = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(
                f"{self} answers no {type(message).__name__}; it answers "
                + ", ".join(sorted(k.__name__ for k in self._HANDLERS if k is not _Report))
            )
        return handler(self, message)

    async def _create(self, message: messages.CreateAgent) -> AgentRef:
        child = self._start_child(message)
        try:
            await asyncio.shield(child.up)
        except asyncio.CancelledError:
            await self._end_child(child)  # Whoever wanted it is gone, and has no ref to end it.
            raise
        return child.ref

    def _start_child(self, message: messages.CreateAgent) -> _Child:
        if self._shutting_down:
            raise self.dead_error()
        name = message.name
        if name is None:
            name = next(n for n in map("agent-{}".format, self._numbers) if n not in self._children)
        check_name(name)
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
            ended=asyncio.Event(),
        )
        self._children[name] = child
        pykka.ActorRegistry.register(ref)
        try:
            actor.begin()
        except BaseException:
            del self._children[name]
            pykka.ActorRegistry.unregister(ref)
            raise
        return child

    async def _shut_down_agent(self, message: messages.ShutdownAgent) -> None:
        child = self._find(message.agent)
        if child is not None:
            await self._end_child(child)

    def _find(self, agent: str | AgentRef) -> _Child | None:
        if isinstance(agent, AgentRef):
            for child in self._children.values():
                if child.ref is agent:
                    return child
            if not agent.is_alive():
                return None  # It has ended: ending it again is safe.
            raise InvalidConfig(f"{agent} is not an agent of {self}")
        child = self._children.get(agent)
        if child is None:
            known = ", ".join(map(repr, self._children)) or "none"
            raise InvalidConfig(f"{self} has no agent {agent!r}; it has {known}")
        return child

    def _get_children(self, _: messages.GetChildren) -> dict[str, AgentRef]:
        return {name: child.ref for name, child in self._children.items()}

    def _get_active_agent_count(self, _: messages.GetActiveAgentCount) -> int:
        return len(self._children)

    async def _shut_down(self, _: messages.Shutdown) -> None:
        await self._end_children()
        self.stop()

    # Reports.

    def report(self, report: _Report) -> None:
        """Take a report, from any thread. The last of them come while the supervisor stops."""
        try:
            self.actor_ref.tell(report)
        except pykka.ActorDeadError:  # A stop has closed the mailbox, and waits for this.
            with contextlib.suppress(RuntimeError):  # Or it has ended, and nobody does.
                self._loop.call_soon_threadsafe(self._report, report)

    def _report(self, report: _Report) -> None:
        actor = report.what.actor
        child = self._children.get(actor.spec.name)
        if child is None or child.actor is not actor:
            return
        if isinstance(report.what, _Ready):
            if not child.up.done():
                child.up.set_result(None)
        else:
            child.running = False
            self._decide(child)

    def _decide(self, child: _Child) -> None:
        outcome = child.actor.outcome
        if child.ending or self._shutting_down or outcome is Outcome.ENDED:
            self._forget(child, None)
        elif not child.up.done():
            cause = child.actor.error
            error = AgentStartError(f"agent {child.spec.name!r} did not start: {_reason(child)}")
            error.__cause__ = cause
            self._forget(child, error)
        elif outcome is Outcome.RENEWED:
            self._begin_again(child)
        else:
            now = self._loop.time()
            decision = decide(
                failures=child.failures,
                now=now,
                restart=child.restart,
                limits=self._limits,
                backoff=self._backoff,
            )
            if isinstance(decision, GiveUp):
                self._give_up(child, decision.why)
                return
            child.failures = decision.failures
            self._log.bind(agent=child.spec.name).warning(
                "Agent failed ({}), restarts in {:.2f} s",
                type(child.actor.error).__name__,
                decision.delay,
            )
            child.waiting = self._loop.create_task(self._restart_after(child, decision.delay))

    async def _restart_after(self, child: _Child, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        child.waiting = None
        self._begin_again(child)

    def _begin_again(self, child: _Child) -> None:
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
        self._children.pop(child.spec.name, None)
        child.ref.bury(error or AgentDeadError(f"{child.ref} has ended"))
        if not child.up.done():
            child.up.set_exception(
                error or AgentStartError(f"agent {child.spec.name!r} was ended while it started")
            )
            child.up.exception()  # Retrieved: its creator may have gone.
        child.ended.set()

    # Ending.

    async def _end_children(self) -> None:
        self._shutting_down = True
        for child in reversed(list(self._children.values())):
            await self._end_child(child)

    async def _end_child(self, child: _Child) -> None:
        if not child.ending:
            child.ending = True
            if child.waiting is not None:
                child.waiting.cancel()
            if not child.running:
                self._forget(child, None)
                return
            child.ref.ask(Disconnect(), block=False)
        try:
            async with asyncio.timeout(_CHILD_GRACE):
                await child.ended.wait()
                return
        except TimeoutError:
            self._log.bind(agent=child.spec.name).warning("Agent does not end; its process is killed")
        child.actor.kill()
        try:
            async with asyncio.timeout(_CHILD_GRACE):
                await child.ended.wait()
        except TimeoutError:
            self._log.bind(agent=child.spec.name).error("Agent's thread does not end; abandoned")
            self._forget(child, None)

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        messages.CreateAgent: _create,
        messages.ShutdownAgent: _shut_down_agent,
        messages.GetChildren: _get_children,
        messages.GetActiveAgentCount: _get_active_agent_count,
        messages.Shutdown: _shut_down,
        _Report: _report,
    }


def _reason(child: _Child) -> str:
    error = child.actor.error
    text = "unknown" if error is None else f"{type(error).__name__}: {error}"
    return child.actor.redact(text)


def _check(
    strategy: object,
    max_restarts: object,
    within: object,
    backoff: object,
    state_dir: str | Path | None,
) -> Path | None:
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
    directory = Path(state_dir).expanduser().resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfig(f"state_dir {directory} cannot be used: {error.strerror}") from error
    return directory
