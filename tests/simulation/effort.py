"""How much the simulated tests try: `AGY_ACTORS_TEST_EFFORT=20` for a long night."""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("AGY_ACTORS_TEST_EFFORT", "1"))


def times(number: int) -> int:
    """Return a number of runs or examples, as many times as wanted."""
    return max(1, int(number * EFFORT))
