"""Creates the children of one supervisor on request.

Guarantees:

*   The child exists, though it may not be ready, when the message after the request is handled.
*   Creating a child does not wait for another one: each request has its own coroutine.
*   A child whose creators have all given up is ended.
"""

from __future__ import annotations

import asyncio
import copy
from itertools import count
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import InvalidConfig
from agy_actors._supervision.claims import Claims
from agy_actors._supervision.validation import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import pykka

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._supervision.child import Child
    from agy_actors._supervision.creation import Creation
    from agy_actors._supervision.owner_actor import OwnerActor

    Make = Callable[[OwnerActor, str, Any, Claims], Child]

__all__ = ["ChildCreation"]


class ChildCreation:
    """Creates the children of one supervisor. For its thread.

    Args:
        owner: the supervisor's actor.
    """

    def __init__(self, owner: OwnerActor) -> None:
        self._owner = owner
        self._lifecycle = owner.lifecycle
        self._numbers = count(1)

    def create(
        self, reply: pykka.Future[Any] | None, message: Creation[Any], make: Make
    ) -> Coroutine[Any, Any, AsyncioActorRef]:
        """Create a child, and return the coroutine that waits until it is ready.

        Args:
            reply: the reply to the request; `None` if no asker waits for it.
            message: the request.
            make: makes the child.
        """
        # Not a coroutine function: the child exists when the next message is handled.
        if message.name is not None:
            check_name(message.name)
            other = self._lifecycle.children.get(message.name)
            if other is not None and self._is_leaving(other):
                return self._after(other, lambda: self.create(reply, message, make))
        if self._lifecycle.is_ending:
            raise self._owner.dead_error()
        child = make(self._owner, self._free_name(message), message, Claims(reply))
        self._lifecycle.add(child)
        return self.wait_until_ready(child)

    def get_or_create(
        self,
        reply: pykka.Future[Any] | None,
        message: Creation[Any],
        make: Make,
        kind: type[Child],
    ) -> Coroutine[Any, Any, AsyncioActorRef]:
        """Return the coroutine that waits for a child; create it first if it does not exist.

        Args:
            reply: as of `create`.
            message: as of `create`.
            make: as of `create`.
            kind: the type that an existing child must have.
        """
        other = self._lifecycle.children.get(check_name(message.name))
        if other is None:
            return self.create(reply, message, make)
        if self._is_leaving(other):
            return self._after(other, lambda: self.get_or_create(reply, message, make, kind))
        if self._lifecycle.is_ending:
            raise self._owner.dead_error()
        if not isinstance(other, kind):
            raise InvalidConfig(
                f"{self._owner} has no {message.kind} {other.name!r}: that is {other.ref}; give"
                " another name"
            )
        other.claims.add(reply)
        return self.wait_until_ready(other, own_error=True)

    def _is_leaving(self, child: Child) -> bool:
        """Return whether a child ends, so that its name will be free soon."""
        if child.claims.abandoned:
            self._lifecycle.end(child)
        return child.is_leaving

    async def _after(
        self, other: Child, create: Callable[[], Coroutine[Any, Any, AsyncioActorRef]]
    ) -> AsyncioActorRef:
        """Create a child as soon as the previous child with its name has ended completely."""
        await asyncio.shield(other.ended)
        return await create()

    async def wait_until_ready(self, child: Child, *, own_error: bool = False) -> AsyncioActorRef:
        """Wait until a child is ready, and return its ref.

        Args:
            child: the child.
            own_error: raise a copy of the error of its start. Other callers get the error itself,
                and several threads must not raise the same exception object.
        """
        try:
            await asyncio.shield(child.ready)
        except asyncio.CancelledError:
            self._end_if_abandoned(child)
            raise
        except Exception as error:
            if own_error:
                again = copy.copy(error)
                raise again from error.__cause__
            raise
        # The asker may give up just before it gets the reply.
        asyncio.get_running_loop().call_soon(self._end_if_abandoned, child)
        return child.ref

    def _end_if_abandoned(self, child: Child) -> None:
        child.claims.settle()
        if child.claims.abandoned:
            self._lifecycle.end(child)

    def _free_name(self, message: Creation[Any]) -> str:
        name = message.name
        children = self._lifecycle.children
        if name is None:
            names = map(f"{message.kind}-{{}}".format, self._numbers)
            name = next(name for name in names if name not in children)
        if name in children:
            raise InvalidConfig(
                f"{self._owner} has a child {name!r} already; give another name, or end that one"
                " first"
            )
        return name
