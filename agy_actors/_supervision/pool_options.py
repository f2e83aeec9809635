"""The options in a message that creates a pool, and their checks."""

from __future__ import annotations

from typing import Protocol

from agy_actors._actors.arguments import check_integer, check_seconds
from agy_actors._actors.errors import InvalidConfig
from agy_actors._supervision.routing import Routing

__all__ = ["PoolOptions", "check_pool"]


class PoolOptions(Protocol):
    """The fields of a message that creates a pool."""

    @property
    def size(self) -> int:
        """The number of members; the least, if the pool scales."""
        ...

    @property
    def routing(self) -> Routing:
        """How the pool chooses the member for a turn."""
        ...

    @property
    def max_size(self) -> int | None:
        """The greatest number of members; `None` if the pool does not scale."""
        ...

    @property
    def shrink_after(self) -> float:
        """Seconds after which an idle member is removed, if the pool scales."""
        ...

    @property
    def capacity(self) -> int:
        """How many turns wait before a sender gets `MailboxFull`."""
        ...

    @property
    def max_restarts(self) -> int:
        """Restarts of a member that are allowed `within` a time before it is replaced."""
        ...

    @property
    def within(self) -> float:
        """The window of `max_restarts`, in seconds."""
        ...


def check_pool(message: PoolOptions) -> None:
    """Refuse invalid arguments of a pool.

    Raises:
        InvalidConfig: names the invalid argument, and valid values.
    """
    if not isinstance(message.routing, Routing):
        raise InvalidConfig(f"routing must be one of agy_actors.Routing, got {message.routing!r}")
    for field in ("size", "capacity"):
        check_integer(field, getattr(message, field), least=1, error=InvalidConfig)
    max_size = message.max_size
    if max_size is not None and (
        check_integer("max_size", max_size, least=1, error=InvalidConfig) < message.size
    ):
        raise InvalidConfig(f"max_size must be an integer >= size, got {max_size!r}")
    if max_size is not None and message.routing is Routing.BROADCAST:
        raise InvalidConfig("a pool that broadcasts does not scale: all members have every turn")
    check_seconds("shrink_after", message.shrink_after, error=InvalidConfig)
    check_integer("max_restarts", message.max_restarts, least=0, error=InvalidConfig)
    check_seconds("within", message.within, error=InvalidConfig)
