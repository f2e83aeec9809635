"""Hypothesis strategies: schedules, messages, prompts and faults.

Hypothesis is an optional requirement, which these functions import when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors.testing.simulation.schedules import Deviations
from agy_actors.testing.simulation.simulated_turns import crash, error, hang, quota, reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from hypothesis.strategies import DataObject, SearchStrategy

    from agy_actors.testing.simulation.schedules import Ready
    from agy_actors.testing.simulation.simulated_turns import SimulatedTurn

__all__ = ["DrawnChoices", "faults", "messages", "prompts", "schedules", "turns"]


def schedules(
    *, max_deviations: int = 20, max_gap: int = 12, max_choice: int = 6
) -> SearchStrategy[Deviations]:
    """Return a strategy for schedules that are first come, first served except for a few choices.

    They shrink to fewer deviations.

    Args:
        max_deviations: the largest number of deviations.
        max_gap: the largest number of choices between two deviations.
        max_choice: the largest position in the ready queue that is chosen.
    """
    st = _hypothesis()
    deviation = st.tuples(st.integers(0, max_gap), st.integers(1, max_choice))
    drawn: SearchStrategy[Deviations] = st.lists(deviation, max_size=max_deviations).map(Deviations)
    return drawn


class DrawnChoices:
    """A schedule for which Hypothesis draws each choice.

    Hypothesis sees the options of each choice, which takes longer than `schedules`.

    Args:
        data: the value of the strategy `data()` in a test.
    """

    def __init__(self, data: DataObject) -> None:
        self._draw = data.conjecture_data.draw_integer
        _hypothesis()

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Draw a position."""
        del ready
        return self._draw(0, width - 1, shrink_towards=0)


def messages() -> SearchStrategy[Any]:
    """Return a strategy for messages: numbers, texts, lists, dicts and so on."""
    st = _hypothesis()
    made: SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=5,
    )
    return made


def prompts() -> SearchStrategy[str]:
    """Return a strategy for prompts: texts that are not blank."""
    st = _hypothesis()
    made: SearchStrategy[str] = st.text(min_size=1, max_size=200).filter(
        lambda text: bool(text.strip())
    )
    return made


def faults() -> SearchStrategy[SimulatedTurn]:
    """Return a strategy for turns of a `SimulatedAgent` that fail: an error, a crash or a hang."""
    st = _hypothesis()
    after = st.sampled_from([0.0, 0.1, 1.0, 30.0])
    made: SearchStrategy[SimulatedTurn] = st.one_of(
        st.builds(crash, after=after),
        st.builds(error, st.sampled_from([400, 401, 500, 503]), after=after),
        st.builds(quota, retry_after=st.sampled_from([None, 0.5, 20.0]), after=after),
        st.builds(hang),
    )
    return made


def turns() -> SearchStrategy[SimulatedTurn]:
    """Return a strategy for turns of a `SimulatedAgent`, with and without failures."""
    st = _hypothesis()
    after = st.sampled_from([0.0, 0.1, 1.0, 30.0])
    made: SearchStrategy[SimulatedTurn] = st.builds(reply, after=after) | faults()
    return made


def _hypothesis() -> ModuleType:
    try:
        from hypothesis import strategies  # noqa: PLC0415 (an optional requirement)
    except ImportError as missing:
        raise ImportError(
            "the strategies of agy_actors.testing need Hypothesis: pip install hypothesis"
        ) from missing
    return strategies
