"""`Script`: chooses the reply to a request."""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agy_actors.testing.scripted_model.reply import Reply
    from agy_actors.testing.scripted_model.request import ModelRequest

__all__ = ["Script"]


@dataclass(eq=False)
class _Rule:
    applies: Callable[[ModelRequest], bool]
    replies: tuple[Reply, ...]
    times: int | None
    used: int = field(default=0)

    @property
    def spent(self) -> bool:
        return self.times is not None and self.used >= self.times

    def take(self) -> Reply:
        reply = self.replies[min(self.used, len(self.replies) - 1)]
        self.used += 1
        return reply


class Script:
    """Chooses from a sequence of replies, then from rules, then a default.

    Any thread adds replies. Only the server's thread chooses, so a rule's function runs without the
    lock and may use the model.

    Args:
        default: the reply to a request that nothing else matches.
    """

    def __init__(self, default: Reply) -> None:
        self._default = default
        self._lock = threading.Lock()
        self._sequence: deque[Reply] = deque()
        self._rules: list[_Rule] = []

    def then(self, replies: Iterable[Reply]) -> None:
        """Add replies to the sequence. Each answers one request."""
        with self._lock:
            self._sequence.extend(replies)

    def when(
        self,
        pattern: str | re.Pattern[str] | Callable[[ModelRequest], bool],
        replies: tuple[Reply, ...],
        times: int | None,
    ) -> None:
        """Add a rule. Its replies are used in order, and the last one repeats."""
        applies = pattern if callable(pattern) else _finds(re.compile(pattern))
        with self._lock:
            self._rules.append(_Rule(applies, replies, times))

    def reset(self) -> None:
        """Remove everything except the default."""
        with self._lock:
            self._sequence.clear()
            self._rules.clear()

    def choose(self, request: ModelRequest) -> Reply:
        """Return the reply to a request, and count it as used."""
        with self._lock:
            if self._sequence:
                return self._sequence.popleft()
            rules = [rule for rule in self._rules if not rule.spent]
        for rule in rules:
            if rule.applies(request):
                return rule.take()
        return self._default


def _finds(pattern: re.Pattern[str]) -> Callable[[ModelRequest], bool]:
    return lambda request: pattern.search(request.prompt) is not None
