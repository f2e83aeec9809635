"""What happened in a simulation, for people: who did what, and when.

What is noted is a few references for each step, made into words only when somebody reads
them. The words hold nothing that differs between two runs of one schedule: no address, no
URN, no real time.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from pykka._envelope import Envelope
from pykka.messages import (
    _ActorStop,  # pyright: ignore[reportPrivateUsage] # no public name
)

from agy_actors._kernel import AsyncioActorRef, ReplyFuture

if TYPE_CHECKING:
    from agy_actors.testing._simulation_loop import Strand

__all__ = ["NOT_DRAWN", "Event", "Trace", "describe", "name_of"]

_VOLATILE = re.compile(r" at 0x[0-9a-fA-F]+|urn:uuid:[0-9a-f-]+|\b[0-9a-f]{32}\b")
_LONGEST = 100
"""Characters of a message that are shown. Arbitrary: one line on a wide screen."""


Event: TypeAlias = "tuple[float, Strand | None, str, Any, Any, tuple[int, int]]"
"""When, who, what, and two things that it is about; then which was drawn among how many.

A plain tuple: one is made for each step."""

NOT_DRAWN = (0, 0)


class Trace:
    """The events of a simulation, the last so many of them."""

    def __init__(self, limit: int) -> None:
        self.events: deque[Event] = deque(maxlen=limit)
        self.add = self.events.append

    def __str__(self) -> str:
        return "\n".join(_line(event) for event in self.events)


def _line(event: Event) -> str:
    time, strand, what, subject, detail, (choice, ready) = event
    who = "" if strand is None else strand.name
    drawn = f"   <- {choice} of {ready}" if choice else ""
    return f"{time:10.3f}  {who:<22} {_words(what, subject, detail)}{drawn}".rstrip()


def _words(what: str, subject: Any, detail: Any) -> str:
    if what == "step":
        return f"runs {name_of(subject)}" if detail is None else f"handles {describe(detail)}"
    if what == "put":
        return f"puts {describe(detail)} for {subject}"
    return what if detail is None else f"{what} {describe(detail)}"


def describe(thing: object) -> str:
    """Return a message in words that do not differ between runs."""
    if isinstance(thing, Envelope):
        thing = thing.message
    if isinstance(thing, str):
        return thing
    if isinstance(thing, ReplyFuture):
        return _describe_reply(thing)
    if isinstance(thing, AsyncioActorRef):
        return getattr(thing.actor_inbox, "label", None) or _VOLATILE.sub("", str(thing))
    if isinstance(thing, _ActorStop):
        return "stop"
    if isinstance(thing, BaseException):
        thing = f"{type(thing).__name__}: {thing}"
        return _cut(_VOLATILE.sub("", thing))
    try:
        words = repr(thing)
    except Exception as error:  # noqa: BLE001 (a user's own repr)
        words = f"{type(thing).__name__} (its repr raised {type(error).__name__})"
    return _cut(_VOLATILE.sub("", words))


def _describe_reply(future: ReplyFuture[Any]) -> str:
    if future.about is None:
        return "a reply"
    message, actor = future.about
    if isinstance(actor, str):  # A client's end.
        return describe(message)
    return f"the reply to {describe(message)} by {describe(actor)}"


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def name_of(callback: Any) -> str:
    """Return what a callback is called in the code."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    coroutine = owner.get_coro() if isinstance(owner, asyncio.Task) else None
    named = callback if coroutine is None else coroutine
    name = str(getattr(named, "__qualname__", type(named).__name__))
    return name.replace("<locals>.", "")
