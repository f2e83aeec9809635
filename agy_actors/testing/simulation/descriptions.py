"""Describes messages and code in words that a user knows and that do not differ between runs.

Descriptions contain no address, URN or real time.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
from pathlib import Path
from typing import Any

import pykka
from pykka._envelope import Envelope
from pykka.messages import (
    _ActorStop,  # pyright: ignore[reportPrivateUsage] # no public name
)

import agy_actors
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import about
from agy_actors._supervision.pool_messages import Job

__all__ = ["describe", "is_internal", "name_of"]

_VOLATILE = re.compile(r" at 0x[0-9a-fA-F]+|urn:uuid:[0-9a-f-]+|\b[0-9a-f]{32}\b")
_PLAIN_REPR = re.compile(r"<(?:\w+\.)*(?:<locals>\.)?(?:\w+\.)*(\w+) object>")
"""The default representation of an object whose class defines none."""

_INTERNAL = tuple(
    f"{Path(str(module.__file__)).parent}{os.sep}" for module in (agy_actors, asyncio, pykka)
)
_INTERNAL_MODULES = ("_asyncio", "functools")

_MAX_LENGTH = 100
"""Characters of a message that are shown. Arbitrary: one line on a wide screen."""


def describe(thing: object) -> str:
    """Return a description of a message, reply, actor or error."""
    while isinstance(thing, (Envelope, Job)):
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
        return _cut(_VOLATILE.sub("", f"{type(thing).__name__}: {thing}"))
    try:
        words = repr(thing)
    except Exception as error:  # noqa: BLE001 (a user's own repr)
        words = f"{type(thing).__name__} (its repr raised {type(error).__name__})"
    return _cut(_PLAIN_REPR.sub(r"\1", _VOLATILE.sub("", words)))


def _describe_reply(future: ReplyFuture[Any]) -> str:
    asked = about(future)
    if asked is None:
        return "a reply"
    message, actor = asked
    if isinstance(actor, str):  # The future of a client.
        return describe(message)
    return f"the reply to {describe(message)} by {describe(actor)}"


def _cut(words: str) -> str:
    return words if len(words) <= _MAX_LENGTH else f"{words[: _MAX_LENGTH - 1]}…"


def name_of(callback: Any) -> str:
    """Return the qualified name of a callback, or of the coroutine that a task runs."""
    named = _code_owner(callback)
    name = str(getattr(named, "__qualname__", type(named).__name__)).replace("<locals>.", "")
    owner, _, last = name.rpartition(".")
    return f"a lambda of {owner}" if last == "<lambda>" and owner else name


def is_internal(callback: Any) -> bool:
    """Return whether code belongs to agy_actors, pykka or asyncio, and not to the user."""
    named = _code_owner(callback)
    code = getattr(named, "cr_code", None) or getattr(named, "gi_code", None)
    code = code or getattr(named, "__code__", None)
    if code is not None:
        return str(code.co_filename).startswith(_INTERNAL)
    module = getattr(named, "__module__", None) or type(named).__module__
    return module in _INTERNAL_MODULES


def _code_owner(callback: Any) -> Any:
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    coroutine = owner.get_coro() if isinstance(owner, asyncio.Task) else None
    return callback if coroutine is None else coroutine
