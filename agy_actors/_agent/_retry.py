"""When a turn that broke is given to the model again: tenacity's policies, our safety."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import tenacity
from tenacity import RetryCallState

from agy_actors._agent._errors import (
    InvalidConfig,
    QuotaExceeded,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
)
from agy_actors._kernel import check_flag, check_integer, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity.stop import StopBaseT
    from tenacity.wait import WaitBaseT

    from agy_actors._agent._errors import ConversationInUse

__all__ = ["RetryPolicy"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a turn that broke is given to the model once more.

    `retry`, `wait` and `stop` are tenacity's, and compose as its do: `retry` with `|` and
    `&`, `wait` with `+`, `stop` with `|`. They see a `RetryCallState` whose clock is the
    one that the agent lives by, and whose attempts and delays are those of one turn, across
    the agent's restarts.

    Whatever they say: a turn that was cancelled is not tried again, nor is one whose time
    is over or would be, nor one of which text has gone to the reader of a stream.

    Raises:
        InvalidConfig: a field cannot be as given.
    """

    attempts: int = 3
    """How often a prompt is given to the model at most. 1 never asks again."""

    retry: Callable[[RetryCallState], bool] = dataclasses.field(
        default_factory=lambda: tenacity.retry_if_exception_type(TurnInterrupted)
    )
    """Which errors are worth another attempt; by default a crash of the agent alone."""

    wait: WaitBaseT = dataclasses.field(default_factory=tenacity.wait_none)
    """The seconds before the next attempt; at least those a `QuotaExceeded` asks for."""

    stop: StopBaseT = tenacity.stop_never
    """When to try no more, beside `attempts`: `tenacity.stop_after_delay(60)`, say."""

    after_tool_calls: bool = False
    """Whether to try again also where a tool was called, whose effects then come twice."""

    def __post_init__(self) -> None:
        attempts = check_integer("retry.attempts", self.attempts, least=1, error=InvalidConfig)
        object.__setattr__(self, "attempts", attempts)
        check_flag("retry.after_tool_calls", self.after_tool_calls, error=InvalidConfig)
        for name in ("retry", "wait", "stop"):
            if not callable(getattr(self, name)):
                raise InvalidConfig(
                    f"retry.{name} is a policy of tenacity, got {shown(getattr(self, name))}"
                )

    def delay(
        self, error: TurnError | ConversationInUse, attempt: int, elapsed: float = 0.0
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to try no more.

        Args:
            error: what the turn broke with.
            attempt: at which attempt, from 1.
            elapsed: the seconds since the turn first began.
        """
        if attempt >= self.attempts or isinstance(error, TurnCancelled):
            return None
        if isinstance(error, TurnError) and error.tool_calls and not self.after_tool_calls:
            return None
        state = RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = attempt
        state.start_time = 0.0
        state.set_exception((type(error), error, None))
        state.outcome_timestamp = elapsed
        if not self.retry(state) or self.stop(state):
            return None
        wait = max(0.0, float(self.wait(state)))
        if isinstance(error, QuotaExceeded) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        return wait
