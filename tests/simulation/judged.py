"""Assertions about an ended simulation show its schedule, as assertions inside it do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agy_actors.testing import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.threads import World


@contextlib.contextmanager
def judged(world: World) -> Iterator[None]:
    """Add the trace and the token of a simulation to an error of the block."""
    try:
        yield
    except AssertionError as error:
        if isinstance(world, Simulation):
            error.add_note(world.report())
        raise
