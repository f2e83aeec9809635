"""How many turns may start now: admission control, without effects, clock or threads.

`StartWindow` is the adaptive limit. It measures the *start delay* of a turn: the time from when the
turn may start to when the agent's loop gets the first step from the harness. That step is the
prompt, which the harness repeats before it asks the model (9 to 70 ms on an idle machine with
google-antigravity 0.1.22, also if the model is silent). So the start delay is the lag of the
agent's loop and of its harness process together. The model does not influence it: a slow model is
not mistaken for a slow machine.

It limits the turns between these two points. Turns that wait for their model cost nothing and are
not limited. Turns that use the machine delay the starts of other turns, so fewer turns start. (If
running turns were limited, the best limit for a model that answers at once would be 16, and for one
that takes 5 s several hundred.)

The algorithm is delay-based congestion control:

*   Each measured delay changes the window, in proportion to the distance of the queueing delay from
    a fixed target, as in LEDBAT (RFC 6817, section 2.4.2): by at most one start per round trip. The
    queueing delay is the excess over the minimum delay of the last minute. So other programs on the
    machine do not count: starting fewer turns would not help against them. If turns wait all the
    time, the minimum delay creeps upwards, a known weakness of LEDBAT; here it has an upper bound.
*   It begins with slow start (RFC 5681, section 3.1): each start increases the window by one, until
    the first queueing delay beyond 25 % of the target.
*   Beyond the target it shrinks in proportion to itself, by at most half per round trip, as in
    LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus, section 4.2).
*   It grows only while turns wait for it (RFC 7661): a window that is not filled proves nothing.
*   A window below one start spaces starts in time (like TCP's pacing). So a machine that is
    overloaded for other reasons makes progress, and the measurement stays up to date.

Netflix's concurrency-limits (`AIMDLimit`, `Gradient2Limit`) and Envoy's adaptive concurrency
filter control the number of running requests by their whole latency. That does not fit here:
the latency of a turn is mostly its model's.
"""

from __future__ import annotations

import dataclasses
import math
import os
from typing import NamedTuple

__all__ = ["TARGET", "Admission", "Load", "StartWindow", "admit", "max_running"]

TARGET = 0.3
"""The queueing delay, in seconds, at which the window stays as it is.

A small part of the 5 s for which an agent may not read before the harness gives it up, and about
ten times the start delay on an idle machine."""

_STEEP = 0.75
"""The part of the target that must be left for slow start to continue. The measurement comes late:
the turns that were started meanwhile are not in it (see HyStart++, RFC 9406)."""

_EPOCH = 30.0  # Seconds; the minimum delay is taken over the last two epochs. Arbitrary.

_MAX_BASE = 1.5
"""The upper bound of the minimum delay, in seconds; with the target, less than half of the 5 s."""

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_LEAST_RUNNING = 2 * _CORES
"""How many turns may always run: enough to use each core, and to measure anything. Two for each
core, since a turn also waits for its disk and its model."""

_FIRST = 4.0 * _CORES
"""The window before the first measurement. Arbitrary: a start takes about 20 ms of a core."""

_LEAST = 0.25
"""The smallest window: with the delay at its target, one start in 2 s."""

_LONGEST_PAUSE = 4.0
"""The longest time, in seconds, by which the window spaces two starts. Arbitrary."""

_LOOK_AGAIN = 0.1
"""Seconds between two decisions while turns wait. Arbitrary: most decisions follow an event."""


@dataclasses.dataclass(frozen=True, slots=True)
class StartWindow:
    """How many turns may be starting at a time."""

    limit: float = _FIRST
    """How many turns may be starting; below 1, starts are spaced in time."""
    delay: float = 0.0
    """The start delay, in seconds: a moving average, as TCP's smoothed round trip (RFC 6298)."""
    slow_start: bool = True
    """Whether it grows by one for each start."""
    last_start: float = -math.inf
    """When a turn started last."""
    least: float = math.inf
    """The minimum delay, in seconds, since `least_since`."""
    least_before: float = math.inf
    """The minimum delay, in seconds, in the `_EPOCH` before."""
    least_since: float = -math.inf
    """When the present `_EPOCH` began."""

    @property
    def base(self) -> float:
        """The delay, in seconds, that turns do not cause."""
        least = min(self.least, self.least_before)
        return 0.0 if math.isinf(least) else min(_MAX_BASE, least)

    @property
    def overdue(self) -> float:
        """Seconds after which a start that has no step yet counts as measured."""
        return 2 * (self.base + TARGET)

    def measured(self, delay: float, *, limited: bool, now: float) -> StartWindow:
        """Note the start delay of a turn.

        Args:
            delay: in seconds.
            limited: whether turns waited for the window meanwhile.
            now: the time.
        """
        if now - self.least_since >= _EPOCH:
            after = dataclasses.replace(
                self, least=math.inf, least_before=self.least, least_since=now
            )
            return after.measured(delay, limited=limited, now=now)
        least = min(self.least, delay)
        base = dataclasses.replace(self, least=least).base
        off_target = 1.0 - (delay - base) / TARGET  # The least delay is not longer: at most 1.
        smoothed = delay if not self.delay else self.delay + (delay - self.delay) / 8
        slow_start = self.slow_start and off_target > _STEEP
        limit = self.limit
        if off_target < 0:
            # For each start; there are `limit` of them in a round trip.
            limit -= min(0.5, -off_target) * min(1.0, limit)
        elif limited:
            limit += 1.0 if slow_start else off_target / max(1.0, limit)
        return dataclasses.replace(
            self,
            limit=max(_LEAST, limit),
            delay=smoothed,
            slow_start=slow_start,
            least=least,
        )

    def started(self, now: float) -> StartWindow:
        """Note a start."""
        return dataclasses.replace(self, last_start=now)

    def next_start(self) -> float:
        """Return the earliest time of the next start, where starts are spaced."""
        if self.limit >= 1.0:
            return -math.inf
        return self.last_start + min(_LONGEST_PAUSE, self.delay / self.limit)


class Load(NamedTuple):
    """The load by all turns under a supervisor."""

    waiting: int
    """How many turns wait for their start."""
    running: int
    """How many turns were started, without those that run the user's code: see `turn_slots`."""
    starting: int
    """How many turns were started and have no step yet, without overdue ones."""


class Admission(NamedTuple):
    """What `decide` returns."""

    turns: int
    """How many turns start now."""
    again_after: float
    """Seconds until the next decision, if turns still wait and no event comes before."""


def max_running(limit: int | None) -> int:
    """Return the number of running turns above which the exact number does not matter."""
    return _LEAST_RUNNING if limit is None else limit


def admit(load: Load, *, limit: int | None, window: StartWindow, now: float) -> Admission:
    """Decide how many waiting turns start now.

    Args:
        load: all turns.
        limit: how many may run at a time; `None` means that the window decides.
        window: how many may be starting at a time.
        now: the time, on the clock of `window`.
    """
    if limit is not None:
        turns = 0
    elif window.limit >= 1.0:
        turns = int(window.limit) - load.starting
    else:
        turns = int(load.starting == 0 and now >= window.next_start())
    turns = max(turns, max_running(limit) - load.running)
    return Admission(max(0, min(turns, load.waiting)), _LOOK_AGAIN)
