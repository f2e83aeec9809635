"""`Budget`: a limit of the tokens that turns use in a sliding window of time."""

from __future__ import annotations

import dataclasses
import threading

from agy_actors._actors.arguments import check_integer, check_seconds
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.process_bound import ProcessBound
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.budget_window import TokenWindow

__all__ = ["Budget", "BudgetStatistics"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatistics:
    """A snapshot of a budget."""

    owner: str
    """Whose turns it limits, such as `"pool 'workers'"`."""

    tokens: int
    """How many tokens may be used in its window."""

    within: float
    """The length of its window, in seconds; infinity for a window without an end."""

    used: int
    """The tokens of the window that ends now. More than `tokens` if turns that were running used
    them."""

    refused: int
    """How many turns it has refused."""

    retry_after: float
    """Seconds until a turn may start; 0 if one may start now."""


class Budget(ProcessBound):
    """Limits the tokens that turns use in a sliding window of time. Thread-safe.

    It is passed as `budget=` to `Supervisor.start`, `create_supervisor`, `create_agent`,
    `create_pool` or `create_sessions`, and limits all turns below. While it is used up, no turn
    starts there: a turn raises `BudgetExceeded` instead. Turns that are running continue, so more
    tokens than `tokens` may be used.

    If several are passed the same budget, they share it. A turn needs room in each budget above it.

    It counts the `total_token_count` that the model's service reports, for all attempts of turns.
    It does not outlive the program.

    Args:
        tokens: how many tokens may be used in the window, at least 1.
        within: the length of the window, in seconds; `math.inf` for a limit of all tokens. Tokens
            may count for a thousandth of the window longer.

    Raises:
        InvalidConfig: an argument is invalid.
    """

    _instead_of_pickling = "make one in the other process; processes do not share budgets"

    def __init__(self, tokens: int, within: float) -> None:
        tokens = check_integer("tokens", tokens, least=1, error=InvalidConfig)
        within = check_seconds("within", within, error=InvalidConfig)
        self._window = TokenWindow(tokens, within)
        self._refused = 0
        # It guards the window and the count, for a few operations. No other lock is taken, and no
        # code of users is called, while it is held.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Budget {self.used:,} of {self.tokens:,} tokens within {self.within:g} s>"

    @property
    def tokens(self) -> int:
        """How many tokens may be used in the window."""
        return self._window.tokens

    @property
    def within(self) -> float:
        """The length of the window, in seconds; infinity for a window without an end."""
        return self._window.within

    @property
    def used(self) -> int:
        """The tokens of the window that ends now. Running turns may take it beyond `tokens`."""
        with self._lock:
            return self._window.used(current_runtime().monotonic())

    @property
    def left(self) -> int:
        """How many tokens are left in the window; 0 while no turn may start."""
        return max(0, self.tokens - self.used)

    @property
    def refused(self) -> int:
        """How many turns it has refused since it was made."""
        return self._refused

    def retry_after(self) -> float:
        """Return the seconds until a turn may start; 0 if one may start now.

        It is infinite if the window has no end. Turns that are running may make it longer.
        """
        with self._lock:
            return self._window.retry_after(current_runtime().monotonic())

    def add(self, tokens: int) -> bool:
        """Count tokens, for example those that your program uses without agents.

        Args:
            tokens: how many, at least 0.

        Returns:
            Whether these tokens used it up: before, a turn could start.

        Raises:
            InvalidConfig: it is no such number.
        """
        tokens = check_integer("tokens", tokens, least=0, error=InvalidConfig)
        with self._lock:
            now = current_runtime().monotonic()
            before = self._window.used(now)
            if tokens:
                self._window.add(tokens, now)
            return before < self.tokens <= before + tokens

    def _note_refusal(self) -> None:
        """Count a turn that was refused."""
        with self._lock:
            self._refused += 1
