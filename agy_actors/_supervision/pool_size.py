"""`PoolSize`: the number of a pool's members, for every thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PoolSize"]


class PoolSize:
    """The number of a pool's members. Its thread updates it, any thread may read it.

    There is no lock, which a fork could leave locked in a child. The operations here are atomic
    for CPython's dictionaries.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._watchers: dict[object, Callable[[], None]] = {}

    @property
    def now(self) -> int:
        """The number."""
        return self._size

    def update(self, size: int) -> None:
        """Set the number, and call the watchers. For the pool's thread."""
        if size == self._size:
            return
        self._size = size
        for watcher in list(self._watchers.values()):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> object:
        """Call a function, which must be short, on each change. Return a token for `unwatch`."""
        token = object()
        self._watchers[token] = watcher
        return token

    def unwatch(self, token: object) -> None:
        """Stop calling the function."""
        self._watchers.pop(token, None)
