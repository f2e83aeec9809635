"""Counts the results of a run, prints its failures and summary, and stops a failing run."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rich.text import Text

from agy_actors import AgyActorsError
from agy_actors.cli.console import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from agy_actors.cli.records import Failure, Result

__all__ = ["RunSummary", "TooManyFailures"]


class TooManyFailures(AgyActorsError):
    """Raised when too many prompts in a row have failed; the message has the last error."""


class RunSummary:
    """Counts results, prints failures as they happen, and decides when to stop. Thread-safe.

    Args:
        err: the console for failures and the summary.
        total: the number of prompts.
        earlier: the number of prompts that were answered before this run.
        max_failures: the number of consecutive failures that ends the run; 0 for no limit.
        advance: called after each result.
    """

    def __init__(
        self,
        err: Console,
        *,
        total: int,
        earlier: int,
        max_failures: int,
        advance: Callable[[], None],
    ) -> None:
        self._err = err
        self._total = total
        self._earlier = earlier
        self._max_failures = max_failures
        self._advance = advance
        self._answered = 0
        self._failed = 0
        self._consecutive = 0
        self._started = time.monotonic()
        self._lock = threading.Lock()

    @property
    def complete(self) -> bool:
        """Whether every prompt has an answer."""
        return self._earlier + self._answered == self._total

    def add(self, result: Result) -> None:
        """Count a result, and print it if it is a failure.

        Raises:
            TooManyFailures: this failure reaches the limit. Raised only once.
        """
        with self._lock:
            if result.error is None:
                self._answered += 1
                self._consecutive = 0
            else:
                self._failed += 1
                self._consecutive += 1
            consecutive = self._consecutive
        self._advance()
        if result.error is None:
            return
        why = describe(result.error)
        self._err.print(Text(f"{one_line(result.prompt.id)}: {why}", "red"))
        if consecutive == self._max_failures:
            raise TooManyFailures(
                f"stopped, because {_in_a_row(consecutive)} failed"
                f" (--max-failures {self._max_failures}); the last error was {why}"
            )

    def show_retry(self, id_: str, failure: Failure, wait: float) -> None:
        """Print an error after which the prompt is asked again in `wait` seconds."""
        self._err.print(
            Text(f"{one_line(id_)}: {describe(failure)}; asking again in {wait:.1f} s", "yellow")
        )

    def show(self, before: str = "") -> None:
        """Print the numbers of answers and failures, after the text `before`."""
        seconds = time.monotonic() - self._started
        parts = [f"{self._earlier + self._answered} of {self._total} prompts answered"]
        if self._earlier:
            parts.append(f"{self._earlier} of them before")
        parts.append(f"{self._failed} failed")
        rate = self._answered / seconds if seconds else 0.0
        parts.append(f"{seconds:.1f} s ({rate:.1f} answers/s)")
        self._err.print(
            Text(before + ", ".join(parts), "bold green" if self.complete else "bold yellow")
        )


def describe(failure: Failure) -> str:
    """Format a failure as one line."""
    return f"{failure.type}: {one_line(failure.message)}"


def _in_a_row(count: int) -> str:
    return "a prompt" if count == 1 else f"{count} prompts in a row"
