"""The pytest plugin under its former module name. See `pytest_agy_actors`.

An editable installation (`pip install -e`) that is older than the move names this module until it
is repeated.
"""

from __future__ import annotations

from pytest_agy_actors import (
    agy_supervisor,
    nothing_of_agy_actors_left,
    scripted_model,
    simulation,
)

__all__ = ["agy_supervisor", "nothing_of_agy_actors_left", "scripted_model", "simulation"]
