"""`RetryPolicy`: whether and when a failed turn is tried again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import tenacity

from agy_actors._actors.arguments import check_flag, check_integer, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.retry_state import retry_state
from agy_actors._sdk.errors import (
    BudgetExceeded,
    QuotaExceeded,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState
    from tenacity.stop import StopBaseT
    from tenacity.wait import WaitBaseT

    from agy_actors._sdk.errors import ConversationInUse

__all__ = ["RetryPolicy"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Decides whether and when a failed turn is tried again.

    `retry`, `wait` and `stop` are tenacity's policies and compose like them: `retry` with `|` and
    `&`, `wait` with `+`, `stop` with `|`. They get a `RetryCallState` that counts the attempts and
    the time of one turn, across the agent's restarts.

    Regardless of the policy, a turn is not tried again if it was cancelled, if it crashed its agent
    twice, if its time would be over by then, or if a reader of its stream has got text.

    Raises:
        InvalidConfig: a field has an invalid value.
    """

    attempts: int = 3
    """How often a prompt is sent to the model at most. With 1 there are no retries."""

    retry: Callable[[RetryCallState], bool] = dataclasses.field(
        default_factory=lambda: tenacity.retry_if_exception_type(TurnInterrupted)
    )
    """Which errors are retried; by default only a crash of the agent."""

    wait: WaitBaseT = dataclasses.field(default_factory=tenacity.wait_none)
    """Seconds before the next attempt; at least the `retry_after` of a `QuotaExceeded` or a
    `BudgetExceeded`."""

    stop: StopBaseT = tenacity.stop_never
    """When to stop trying, apart from `attempts`; for example `tenacity.stop_after_delay(60)`."""

    after_tool_calls: bool = False
    """Whether to retry although a tool was called, whose side effects may then happen twice."""

    def __post_init__(self) -> None:
        attempts = check_integer("retry.attempts", self.attempts, least=1, error=InvalidConfig)
        object.__setattr__(self, "attempts", attempts)
        check_flag("retry.after_tool_calls", self.after_tool_calls, error=InvalidConfig)
        for name in ("retry", "wait", "stop"):
            if not callable(getattr(self, name)):
                raise InvalidConfig(
                    f"retry.{name} must be a policy of tenacity, got {shown(getattr(self, name))}"
                )

    def delay(
        self, error: TurnError | ConversationInUse, attempt: int, elapsed: float = 0.0
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` for no further attempt.

        Args:
            error: the error of the attempt.
            attempt: the number of the attempt, from 1.
            elapsed: seconds since the turn began.
        """
        if attempt >= self.attempts or isinstance(error, TurnCancelled):
            return None
        if isinstance(error, TurnError) and error.tool_calls and not self.after_tool_calls:
            return None
        state = retry_state(attempt)
        state.start_time = 0.0
        state.set_exception((type(error), error, None))
        state.outcome_timestamp = elapsed
        if not self.retry(state) or self.stop(state):
            return None
        wait = max(0.0, float(self.wait(state)))
        if isinstance(error, QuotaExceeded | BudgetExceeded) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        return wait
