"""Actors for scenarios, simulated or on real threads."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from agy_actors import AsyncioActor
from agy_actors._actors.message import Lane, Message
from tests.simulation.threads import seconds

if TYPE_CHECKING:
    from collections.abc import Callable


class Echo(AsyncioActor):
    """Replies with the message."""

    def on_receive(self, message: Any) -> Any:
        return message


class Sleeper(AsyncioActor):
    """Replies after the number of seconds in the message."""

    async def on_receive(self, message: float) -> float:
        await asyncio.sleep(seconds(message))
        return message


class Relay(AsyncioActor):
    """Forwards each message, and keeps it."""

    def __init__(self, after: Any = None) -> None:
        super().__init__()
        self.after = after
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.seen.append(message)
        if self.after is not None:
            self.after.tell(message)
        return list(self.seen)


class Register(AsyncioActor):
    """A value with one message to read it and one to write it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def on_receive(self, message: Any) -> Any:
        kind, *value = message
        if kind == "write":
            self.value = value[0]
        elif kind == "add":
            self.value += value[0]
        return self.value


@dataclasses.dataclass(frozen=True)
class Work(Message[str]):
    """A turn that takes some seconds, and may fail."""

    name: str
    seconds: float = 0.0
    fails: bool = False

    lane = Lane.TURN


class Worker(AsyncioActor):
    """Does its work one turn at a time, and records each start and end."""

    def __init__(self, diary: list[tuple[str, str]], capacity: int = 1000) -> None:
        super().__init__()
        self.actor_inbox.capacity = capacity
        self.diary = diary

    async def on_receive(self, message: Any) -> str:
        if not isinstance(message, Work):
            self.diary.append(("query", str(message)))
            return str(message)
        self.diary.append(("begin", message.name))
        try:
            if message.seconds:
                await asyncio.sleep(seconds(message.seconds))
            else:
                await asyncio.sleep(0)
            if message.fails:
                raise ValueError(message.name)
        finally:
            self.diary.append(("end", message.name))
        return message.name


class Asker(AsyncioActor):
    """Asks another actor, and blocks its own thread until the reply."""

    def __init__(self, other: Callable[[], Any]) -> None:
        super().__init__()
        self.other = other

    def on_receive(self, message: Any) -> Any:
        return self.other().ask(message)
