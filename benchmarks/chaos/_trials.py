"""All trials of the soak, and the lines that the report has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.chaos._broadcasts import Broadcasts
from benchmarks.chaos._failing_starts import FailingStarts
from benchmarks.chaos._forks import Forks
from benchmarks.chaos._full_disk import FullDisk
from benchmarks.chaos._told_from_tools import ToldFromTools
from benchmarks.chaos._two_programs import TwoPrograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.chaos._trial import Trial

__all__ = ["TRIALS", "print_trials"]

TRIALS: tuple[tuple[type[Trial], float], ...] = (
    (Broadcasts, 2.0),
    (ToldFromTools, 2.0),
    (FailingStarts, 4.0),
    (TwoPrograms, 8.0),
    (Forks, 6.0),
    (FullDisk, 15.0),
)
"""Each with the seconds between two rounds, on average. Arbitrary: what starts programs or
takes many turns is rarer, so that the rest of the soak has the machine, too."""


def print_trials(trials: Sequence[Trial]) -> None:
    """Print how often each fault was done, and what came of it."""
    print("faults, each with what came of it:")
    for trial in trials:
        print(f"  {trial.summary()}")
