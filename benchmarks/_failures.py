"""Counts failures and sums up times, for benchmarks and soak runs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Failures", "print_times"]


class Failures:
    """Counts failures, and prints each."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, what: str) -> None:
        """Count and print a failure."""
        self.count += 1
        print(f"  FAILED: {what}")

    def finish(self) -> NoReturn:
        """Exit with 1 if there was a failure, else with 0."""
        print(f"{self.count} failures")
        raise typer.Exit(1 if self.count else 0)


def print_times(what: str, times: Sequence[float]) -> tuple[float, float]:
    """Print the median and the 99th percentile of times in seconds, and return them."""
    ordered = sorted(times)
    median = statistics.median(ordered)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what}: median {median * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")
    return median, p99
