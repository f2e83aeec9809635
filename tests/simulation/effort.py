"""The effort of the simulated tests.

By default they are quick. `.ci/run` sets `AGY_ACTORS_TEST_EFFORT=1`; 20 is for a run overnight.
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("AGY_ACTORS_TEST_EFFORT", "0.3"))


def times(number: int) -> int:
    """Return a number of runs or examples, multiplied by the effort."""
    return max(1, int(number * EFFORT))
