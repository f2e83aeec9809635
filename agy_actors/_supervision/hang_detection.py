"""Finds children whose loops do not respond."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agy_actors._supervision.background import Background
    from agy_actors._supervision.child import Child

__all__ = ["detect_hangs"]


async def detect_hangs(
    children: Mapping[str, Child],
    timeout: float,
    background: Background,
    replace: Callable[[Child, float], None],
) -> None:
    """Replace children whose loops do not respond for a while. Runs until it is cancelled.

    If this loop itself does not run for a while, for example because the machine was suspended,
    that counts as at most two periods.

    Args:
        children: the supervisor's children, as they are at any time.
        timeout: the seconds after which a child is replaced.
        background: logs errors.
        replace: replaces a child that has not responded for this number of seconds.
    """
    loop = asyncio.get_running_loop()
    period = min(timeout / 8, 2.0)
    last = loop.time()
    while True:
        await asyncio.sleep(period)
        now = loop.time()
        passed, last = min(now - last, 2 * period), now
        for child in list(children.values()):
            if child.running and not child.ending:
                # Each child separately: an error with one must not hide another that hangs.
                look = functools.partial(_look_at, child, passed, timeout, replace)
                background.attempt(f"hang detection of {child.label}", look)


def _look_at(
    child: Child, passed: float, timeout: float, replace: Callable[[Child, float], None]
) -> None:
    child.silent = 0.0 if child.is_responsive() else child.silent + passed
    if child.silent >= timeout:
        replace(child, child.silent)
