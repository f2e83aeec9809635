"""Hypothesis strategies: schedules, messages, prompts and faults.

Hypothesis is no requirement of agy_actors itself: it is asked for where a strategy is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors.testing._schedules import Deviations
from agy_actors.testing._simulated_turns import crash, error, hang, quota, reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from hypothesis.strategies import DataObject, SearchStrategy

    from agy_actors.testing._simulated_turns import SimulatedTurn
    from agy_actors.testing._simulation_scheduler import Ready

__all__ = ["DrawnChoices", "faults", "messages", "prompts", "schedules", "turns"]


def schedules(
    *, max_deviations: int = 20, max_gap: int = 12, max_choice: int = 6
) -> SearchStrategy[Deviations]:
    """Make schedules that differ from FIFO in a few choices, and shrink to fewer.

    Args:
        max_deviations: how many they are at most.
        max_gap: how many choices there are between two of them, at most.
        max_choice: the last position in the ring that is chosen.
    """
    st = _hypothesis()
    deviation = st.tuples(st.integers(0, max_gap), st.integers(1, max_choice))
    drawn: SearchStrategy[Deviations] = st.lists(deviation, max_size=max_deviations).map(Deviations)
    return drawn


class DrawnChoices:
    """A schedule whose every choice Hypothesis draws, from what there is just then.

    It sees each choice for what it is, and takes longer than `schedules` for it.

    Args:
        data: what the strategy `data()` gives a test.
    """

    def __init__(self, data: DataObject) -> None:
        self._draw = data.conjecture_data.draw_integer
        _hypothesis()

    def choose(self, width: int, ready: Sequence[Ready]) -> int:
        """Draw a position."""
        del ready
        return self._draw(0, width - 1, shrink_towards=0)


def messages() -> SearchStrategy[Any]:
    """Make messages for any actor: values of the kinds that a message may be made of."""
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
    """Make prompts that an agent takes: any text but none."""
    st = _hypothesis()
    made: SearchStrategy[str] = st.text(min_size=1, max_size=200).filter(
        lambda text: bool(text.strip())
    )
    return made


def faults() -> SearchStrategy[SimulatedTurn]:
    """Make turns of a `SimulatedAgent` that go wrong: by an error, a crash or a hang."""
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
    """Make turns of a `SimulatedAgent`, good ones and others."""
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
