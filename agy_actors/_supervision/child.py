"""`Child`: the state of a supervisor's child, and the operations on it.

A child outlives its incarnations. Its ref and its mailbox are created once; each restart attaches a
new incarnation to them.

`child_lifecycle` has the steps that are the same for every kind of child. The subclasses have those
of one kind.
"""

from __future__ import annotations

import abc
import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.incarnation import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.actor import AsyncioActor
    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.lifeline import DeathReason
    from agy_actors._supervision.claims import Claims
    from agy_actors._supervision.restart_policy import Restart

__all__ = ["Child"]


@dataclasses.dataclass(eq=False)
class Child(abc.ABC):
    """A child of a supervisor, and its current state."""

    noun: ClassVar[str] = "Actor"
    """Its name at the beginning of a log line."""

    dead_error: ClassVar[type[ActorDeadError]] = ActorDeadError
    """The type of the error for asks after its end."""

    force: ClassVar[str] = "its thread is about to be abandoned"
    """The measure if it does not end in time, for a log line."""

    ends_itself: ClassVar[bool] = False
    """Whether it always ends in time when it is asked to, so that no force is needed."""

    name: str
    restart: Restart
    ready: asyncio.Future[None]
    """Resolved when it is ready for the first time."""
    ended: asyncio.Future[None]
    """Resolved when it has ended for good."""
    claims: Claims
    """Who waits for its first start."""
    exited: asyncio.Event = dataclasses.field(default_factory=asyncio.Event, init=False)
    """Set while none of its incarnations runs."""
    begun: bool = dataclasses.field(default=False, init=False)
    """Whether it was ever started."""
    ending: bool = dataclasses.field(default=False, init=False)
    """Whether it was told to end for good."""
    draining: bool = dataclasses.field(default=False, init=False)
    """Whether it was told to finish its turns before it ends."""
    silent: float = dataclasses.field(default=0.0, init=False)
    """For how many seconds its loop has not responded."""

    def __post_init__(self) -> None:
        self.exited.set()

    @property
    @abc.abstractmethod
    def ref(self) -> AsyncioActorRef:
        """Its ref."""

    @property
    @abc.abstractmethod
    def actor(self) -> Any:
        """Its incarnation, running or ended."""

    @property
    def label(self) -> str:
        """Its name in texts, such as "agent 'poet'"."""
        return str(self.ref)

    @property
    def kind(self) -> str:
        """Its kind in one word, for counts."""
        return self.noun.lower()

    @property
    def running(self) -> bool:
        """Whether one of its incarnations runs."""
        return not self.exited.is_set()

    @running.setter
    def running(self, running: bool) -> None:
        if running:
            self.exited.clear()
        else:
            self.exited.set()

    @property
    def outcome(self) -> Outcome:
        """Why its last incarnation ended."""
        outcome: Outcome = self.actor._outcome  # noqa: SLF001 (for its supervisor)
        return outcome

    @property
    def error(self) -> Exception | None:
        """The error of its last incarnation."""
        error: Exception | None = self.actor._failed_with  # noqa: SLF001 (for its supervisor)
        return error

    @property
    def crashed_turn(self) -> object | None:
        """The identity of the turn that crashed its last incarnation, if a turn did."""
        return None

    def runs(self, actor: AsyncioActor) -> bool:
        """Return whether this incarnation runs, and was not abandoned."""
        return self.running and self.actor is actor and not self.ended.done()

    @property
    def is_leaving(self) -> bool:
        """Whether it ends for good, or is about to."""
        inbox = self.ref.actor_inbox
        return self.ending or inbox.closed or inbox.has_stop()

    @property
    def stop_timeout(self) -> float:
        """Seconds that it gets to end by itself."""
        return 0.0

    @abc.abstractmethod
    def begin(self) -> None:
        """Start an incarnation, the first or the next.

        Raises:
            OSError: no file descriptor is available.
            RuntimeError: no thread is available.
        """

    def _run(self) -> None:
        self.running = True
        try:
            self.actor._begin()  # noqa: SLF001 (for its supervisor)
        except Exception as error:
            self.running = False
            self.actor._failed_with = error  # noqa: SLF001 (for its supervisor)
            raise

    @abc.abstractmethod
    def request_restart(self) -> None:
        """End the incarnation. Another one will follow."""

    @abc.abstractmethod
    def ask_to_end(self, *, drain: bool) -> None:
        """Ask the child to end for good; without `drain`, also while it drains."""

    @abc.abstractmethod
    def declare_dead(self, error: Exception, reason: DeathReason) -> list[object]:
        """Declare the child, which does not run, dead, and return its dead letters."""

    @abc.abstractmethod
    def start_error(self, error: Exception) -> Exception:
        """Return the error for the creator of a child whose first start failed."""

    @abc.abstractmethod
    def ended_early_error(self) -> Exception:
        """Return the error for the creator of a child that was ended while it started."""

    def reason(self) -> str:
        """Return its last error as text, without secrets."""
        if self.error is None:
            return "unknown"
        kind, words = type(self.error).__name__, str(self.error).strip()
        return f"{kind}: {words}" if words else kind

    def given_up_error(self, why: str) -> ActorDeadError:
        """Return the error for asks after it was given up."""
        return given_up_error(self.dead_error, self.label, why, self)

    def on_ready(self) -> None:  # noqa: B027 (not every kind needs it)
        """Note that an incarnation is ready."""

    def on_exit(self) -> None:  # noqa: B027 (as above)
        """Note that an incarnation has exited."""

    # For children with their own thread.

    def watch_for_end(  # noqa: B027 (most kinds need it, not all)
        self, loop: asyncio.AbstractEventLoop, on_end_request: Callable[[], None]
    ) -> None:
        """While no incarnation runs, call a function when someone asks for the child's end."""

    def is_responsive(self) -> bool:
        """Return whether its loop has run since the last call."""
        return True

    def kill(self) -> None:  # noqa: B027 (as above)
        """Kill the processes of its incarnation. Callable from any thread."""

    def where(self) -> str:
        """Return the lines of code that its thread runs. Callable from any thread."""
        where: str = self.actor._where()  # noqa: SLF001 (for its supervisor)
        return where

    def abandon(self) -> None:
        """Abandon the thread of its incarnation."""
        self.actor._abandon()  # noqa: SLF001 (for its supervisor)

    def note_hang(self, error: Exception) -> None:
        """Note that the incarnation hangs, and that it will be abandoned."""
        self.actor._failed_with = error  # noqa: SLF001 (for its supervisor)
        self.actor._outcome = Outcome.CRASHED  # noqa: SLF001 (for its supervisor)

    def note_end(self, *, turns_move: bool) -> None:  # noqa: B027 (as above)
        """Note that the child has ended for good; `turns_move` if another takes over its turn."""

    def on_dead_letter(self, message: object) -> None:
        """Report a told message that will not be handled."""
        self.actor.on_dead_letter(message)


def given_up_error(kind: type[ActorDeadError], who: str, why: str, cause: Child) -> ActorDeadError:
    """Return the error for asks of an actor that was given up because of a child."""
    error = kind(f"{who} was given up: {why}; last cause: {cause.reason()}")
    error.__cause__ = cause.error
    return error
