"""What a supervisor does with a child: an agent, or a supervisor below it.

A child outlives its incarnations. Its ref and its mailbox are made once; starting it again
puts a fresh incarnation behind them. While none runs, what wants the child's end is
looked out for, and all else waits.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope as AnyEnvelope
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._agent import (
    AgentActor,
    AgentDeadError,
    AgentRef,
    AgentSpec,
    Delete,
    Disconnect,
    Life,
    Outcome,
    Reporter,
    describe_start,
)
from agy_actors._kernel import DeathReason, Envelope, ReplyFuture

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._supervision._decisions import Restart
    from agy_actors._supervision._parent import ParentActor
    from agy_actors._supervision._ref import OwnerRef

__all__ = ["AgentChild", "Child", "SupervisorChild"]

_ENDS = (_ActorStop, Disconnect, Delete)
"""The messages that ask for an agent's end."""


@dataclasses.dataclass(eq=False)
class Child(abc.ABC):
    """A child, and what is under way with it."""

    name: str
    restart: Restart
    up: asyncio.Future[None]
    ended: asyncio.Future[None]
    creation: pykka.Future[Any] | None
    """What its creator waits for; `None` if nobody does."""
    running: bool = dataclasses.field(default=False, init=False)
    """Whether an incarnation of it runs."""
    begun: bool = dataclasses.field(default=False, init=False)
    """Whether it was ever started."""
    ending: bool = dataclasses.field(default=False, init=False)
    """Whether it was told to end for good."""

    @property
    @abc.abstractmethod
    def ref(self) -> AgentRef | OwnerRef:
        """Its ref."""

    @property
    @abc.abstractmethod
    def actor(self) -> AgentActor | ParentActor:
        """Its incarnation, running or ended."""

    @property
    def outcome(self) -> Outcome:
        """Why its last incarnation ended."""
        return self.actor.outcome

    @property
    def error(self) -> Exception | None:
        """What its last incarnation failed with."""
        return self.actor.error

    @property
    def crashed_turn(self) -> object | None:
        """What identifies the turn that crashed its last incarnation, if one did."""
        return None

    @property
    def was_abandoned(self) -> bool:
        """Whether whoever wanted it has gone."""
        return isinstance(self.creation, ReplyFuture) and self.creation.cancelled()

    @abc.abstractmethod
    def begin(self) -> None:
        """Start an incarnation, the first or the next.

        Raises:
            OSError: there is no descriptor to be had.
            RuntimeError: there is no thread to be had.
        """

    def _run(self) -> None:
        self.running = True
        try:
            self.actor.begin()
        except (OSError, RuntimeError) as error:
            self.running = False
            self.actor.error = error
            raise

    @abc.abstractmethod
    def recall(self) -> None:
        """Have the incarnation end, to be followed by another."""

    @abc.abstractmethod
    def ask_to_end(self, *, drain: bool) -> None:
        """Have the child end for good."""

    @abc.abstractmethod
    def bury(self, error: Exception, reason: DeathReason) -> list[object]:
        """Declare the child dead, while nothing of it runs; return its dead letters."""

    def reason(self) -> str:
        """Return what it failed with last, in words without secrets."""
        return "unknown" if self.error is None else describe_start(self.error)


class AgentChild(Child):
    """An agent under its supervisor."""

    def __init__(self, spec: AgentSpec, reporter: Reporter, **fields: Any) -> None:
        super().__init__(name=spec.name, **fields)
        self.spec = spec
        self.life = Life()
        self._reporter = reporter
        self._actor = AgentActor(spec, self.life, reporter)
        self._ref = AgentRef(self._actor)
        self._actor._actor_ref = self._ref  # noqa: SLF001 (one concept in two classes)
        self._held: list[AnyEnvelope[Any]] = []
        """What came while it was looked after, other than turns; oldest first."""
        self.silent = 0.0
        """For how many seconds its loop has not turned."""

    @property
    def ref(self) -> AgentRef:
        return self._ref

    @property
    def actor(self) -> AgentActor:
        return self._actor

    @property
    def crashed_turn(self) -> object | None:
        return self._actor.crashed_turn

    def begin(self) -> None:
        if self.begun:
            self.hand_back()
            self.life.restarts += 1
            self._actor = AgentActor(self.spec, self.life, self._reporter).succeed(self._ref)
        else:
            self.begun = True
            pykka.ActorRegistry.register(self._ref)
        self.silent = 0.0
        self._run()

    def recall(self) -> None:
        self._actor.recall()

    def ask_to_end(self, *, drain: bool) -> None:
        if drain:
            self._ref.stop(block=False)
        else:
            self._ref.ask(Disconnect(), block=False)

    def look_after(self, loop: asyncio.AbstractEventLoop, wanted: Callable[[], None]) -> None:
        """While nobody drains its mailbox, call `wanted` when somebody asks for its end."""

        def look() -> None:
            if self.running:
                return  # Called before its start, and run after it.
            ends = False
            while (item := self._ref.actor_inbox.take(turns=False)) is not None:
                # What nobody waits for comes bare.
                envelope = item if isinstance(item, AnyEnvelope) else Envelope(item)
                self._held.append(envelope)
                ends = ends or isinstance(envelope.message, _ENDS)
            if ends:
                wanted()

        self._ref.actor_inbox.attach(loop, look)

    def hand_back(self) -> None:
        """Leave its mailbox as if nobody had looked after it."""
        inbox = self._ref.actor_inbox
        inbox.detach()
        while self._held:
            inbox.put_back(self._held.pop())

    def bury(self, error: Exception, reason: DeathReason) -> list[object]:
        if not self.running:
            self.hand_back()
        return self._ref.bury(error, reason)

    def reason(self) -> str:
        return self._actor.redact(super().reason())


class SupervisorChild(Child):
    """A supervisor under its supervisor.

    Its actor is never replaced. Recalling it recalls its children; starting it again
    starts them again, each behind its ref.
    """

    def __init__(self, actor: ParentActor, **fields: Any) -> None:
        super().__init__(name=actor.name, **fields)
        self._actor = actor

    @property
    def ref(self) -> OwnerRef:
        return self._actor.actor_ref

    @property
    def actor(self) -> ParentActor:
        return self._actor

    def begin(self) -> None:
        if self.begun:
            self.running = True
            self._actor.resume()
            return
        self.begun = True
        pykka.ActorRegistry.register(self.ref)
        self._run()

    def recall(self) -> None:
        self._actor.halt()

    def ask_to_end(self, *, drain: bool) -> None:
        self._actor.end(drain=drain)

    def bury(self, error: Exception, reason: DeathReason) -> list[object]:
        if reason is DeathReason.GIVEN_UP:
            self._actor.be_given_up(error)
        return []


def given_up_error(who: str, why: str, cause: Child) -> AgentDeadError:
    """Make the error for those who ask what was given up."""
    error = AgentDeadError(f"{who} was given up: {why}; last cause: {cause.reason()}")
    error.__cause__ = cause.error
    return error
