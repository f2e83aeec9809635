"""All trials of the soak, and their lines in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.chaos._broadcasts import Broadcasts
from tests.soak.chaos._failing_starts import FailingStarts
from tests.soak.chaos._forks import Forks
from tests.soak.chaos._full_disk import FullDisk
from tests.soak.chaos._told_from_tools import ToldFromTools
from tests.soak.chaos._two_programs import TwoPrograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.soak.chaos._trial import Trial

__all__ = ["TRIALS", "print_trials"]

TRIALS: tuple[tuple[type[Trial], float], ...] = (
    (Broadcasts, 2.0),
    (ToldFromTools, 2.0),
    (FailingStarts, 4.0),
    (TwoPrograms, 8.0),
    (Forks, 6.0),
    (FullDisk, 15.0),
)
"""Each trial with the average seconds between two rounds. Arbitrary: trials that start programs or
take many turns are rarer, so that the rest of the soak gets processor time, too."""


def print_trials(trials: Sequence[Trial]) -> None:
    """Print how often each fault was caused, and the results."""
    print("faults, each with its results:")
    for trial in trials:
        print(f"  {trial.summary()}")
