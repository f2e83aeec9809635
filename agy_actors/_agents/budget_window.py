"""`TokenWindow`: the tokens of a sliding window of time, without clock, threads or effects.

Tokens are added up in parts, each of which covers a thousandth of the window at most. A part leaves
the window when its last tokens do. So the sum is never less than the tokens of the window, and the
memory is bounded, however many turns run. For this, tokens may count for a thousandth of the window
longer.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

__all__ = ["TokenWindow"]

_PARTS = 1000
"""How many parts a window has. Arbitrary: about 100 kB of memory, and with a window of a day tokens
count for 86 seconds longer at most."""


@dataclasses.dataclass(slots=True)
class _Part:
    """The tokens of a short time."""

    first: float
    """When the first of its tokens came."""
    last: float
    """When the last of its tokens came."""
    tokens: int
    """How many tokens it has."""


class TokenWindow:
    """The tokens of the last seconds. Not thread-safe.

    Each method takes the time, in seconds. A time before an earlier one counts as that.

    Args:
        tokens: the limit.
        within: the length of the window, in seconds; infinity for a window without an end.
    """

    def __init__(self, tokens: int, within: float) -> None:
        self.tokens = tokens
        self.within = within
        self._parts: deque[_Part] = deque()
        self._used = 0
        self._now = -math.inf

    def __len__(self) -> int:
        """Return how many parts it keeps."""
        return len(self._parts)

    def add(self, tokens: int, now: float) -> None:
        """Add tokens that were used now."""
        now = self._advance(now)
        parts = self._parts
        self._used += tokens
        if parts and now - parts[-1].first < self.within / _PARTS:
            parts[-1].last = now
            parts[-1].tokens += tokens
        else:
            parts.append(_Part(now, now, tokens))

    def used(self, now: float) -> int:
        """Return the tokens of the window that ends now."""
        self._advance(now)
        return self._used

    def retry_after(self, now: float) -> float:
        """Return the seconds until the window has fewer tokens than the limit; 0 if it has now."""
        now = self._advance(now)
        left = self._used
        if left < self.tokens:
            return 0.0
        for part in self._parts:
            left -= part.tokens
            if left < self.tokens:
                return _difference(self._end(part), now)
        raise AssertionError("the parts have all tokens")

    def _advance(self, now: float) -> float:
        """Remove the parts that have left the window, and return the time."""
        self._now = now = max(now, self._now)
        parts = self._parts
        while parts and self._end(parts[0]) <= now:
            self._used -= parts.popleft().tokens
        return now

    def _end(self, part: _Part) -> float:
        """Return when a part leaves the window."""
        return part.last + self.within


def _difference(end: float, now: float) -> float:
    """Return `end - now`, rounded up, so that a wait of these seconds is long enough."""
    seconds = end - now
    while now + seconds < end:
        seconds = math.nextafter(seconds, math.inf)
    return seconds
