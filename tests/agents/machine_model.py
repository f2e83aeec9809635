"""A model of a machine on which turns run, in virtual time, to try limits on.

Its cores are shared evenly by all turns that compute, as a fair scheduler does. The more there
are, the more is lost in switching between them.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._agents.admission import Load, StartWindow, admit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outcome", "Work", "run_turns"]

_STEP = 0.01  # Seconds of virtual time.
_LOST = 1 / 200
"""The part of a core that is lost for each turn that shares it."""


class Work(NamedTuple):
    """The work of a turn."""

    start: float = 0.02
    """Seconds of a core until the harness has the prompt."""
    silence: float = 0.0
    """Seconds for which the model is silent."""
    end: float = 0.025
    """Seconds of a core for the answer."""


class Outcome(NamedTuple):
    """All turns answered."""

    seconds: float
    longest: float
    """The seconds of the longest turn from its start."""
    max_running: int
    limit: float
    """The window at the end."""


@dataclasses.dataclass(eq=False, slots=True)
class _Turn:
    work: Work
    left: float
    began: float
    starting: bool = True
    counted: bool = True
    silent_until: float = 0.0


def run_turns(
    turns: int,
    work: Work,
    *,
    limit: int | None = None,
    cores: float = 2.0,
    window: StartWindow | None = None,
    busy: Callable[[float], float] = lambda _: 0.0,
    patience: float = 10_000.0,
) -> Outcome:
    """Ask all turns at once, and have them answered.

    Args:
        turns: how many.
        work: what each does.
        limit: how many may run at a time; `None` for the adaptive limit.
        cores: how many turns can compute at full speed.
        window: the adaptive limit to begin with.
        busy: returns how many others compute, at a time.
        patience: seconds of virtual time within which all must be done.
    """
    window = window or StartWindow(4.0 * cores)
    waiting, now, longest, most = turns, 0.0, 0.0, 0
    running: list[_Turn] = []
    delays: deque[float] = deque()
    while waiting or running:
        assert now < patience, f"{waiting} turns wait, {len(running)} run"
        for turn in running:
            if turn.starting and turn.counted and now - turn.began >= window.overdue:
                turn.counted = False
                delays.append(now - turn.began)
        while delays:
            window = window.measured(delays.popleft(), limited=waiting > 0, now=now)
        load = Load(waiting, len(running), sum(t.starting and t.counted for t in running))
        started = admit(load, limit=limit, window=window, now=now).turns
        assert 0 <= started <= waiting
        if started:
            window = window.started(now)
        waiting -= started
        running += [_Turn(work, work.start, now) for _ in range(started)]
        most = max(most, len(running))
        computing = [turn for turn in running if now >= turn.silent_until]
        sharers = len(computing) + busy(now)
        speed = min(1.0, cores / max(1.0, sharers) / (1.0 + sharers / cores * _LOST))
        now += _STEP
        for turn in computing:
            turn.left -= speed * _STEP
            if turn.left > 0:
                continue
            if turn.starting:
                turn.starting = False
                if turn.counted:
                    delays.append(now - turn.began)
                turn.left = work.end
                turn.silent_until = now + work.silence
            else:
                longest = max(longest, now - turn.began)
                running.remove(turn)
    return Outcome(now, longest, most, window.limit)
