"""Supervise an actor of your own: a cache that keeps its waiting messages through a crash."""

import dataclasses
from typing import Any

from agy_actors import AsyncioActor, Message, Supervisor


@dataclasses.dataclass(frozen=True)
class Put(Message[None]):
    """Keep a value."""

    key: str
    value: str


@dataclasses.dataclass(frozen=True)
class Get(Message[str | None]):
    """Return a value, if there is one."""

    key: str


class Cache(AsyncioActor):
    """Keeps the newest entries, as many as `limit` says."""

    def __init__(self, *, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._entries: dict[str, str] = {}

    def on_start(self) -> None:
        """Say that an incarnation starts."""
        print("the cache starts")

    def on_receive(self, message: Any) -> Any:
        """Handle a message; what is returned is its reply."""
        match message:
            case Get(key):
                return self._entries.get(key)
            case Put(key, value):
                if not key:
                    raise ValueError("a key must not be empty")
                self._entries[key] = value
                while len(self._entries) > self._limit:
                    self._entries.pop(next(iter(self._entries)))
        return None


with Supervisor.start() as supervisor:
    cache = supervisor.create_actor(Cache, limit=100, name="cache")
    cache.tell(Put("tea", "green"))
    print("tea:", cache.ask(Get("tea")))

    cache.tell(Put("", "nothing"))  # Nobody waits for a reply, so the error is a crash.
    cache.tell(Put("coffee", "black"))  # This waits, and so does the next.
    print("coffee:", cache.ask(Get("coffee")))  # Answered by the next incarnation,
    print("tea:", cache.ask(Get("tea")))  # whose cache was empty.
