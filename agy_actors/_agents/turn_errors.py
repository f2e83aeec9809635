"""Which error a turn ends with, and whether it is tried again. Pure functions.

No error quotes a secret: texts of services and hooks are redacted before they come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agy_actors._sdk.error_text import diagnose, model_error
from agy_actors._sdk.errors import (
    CompactionFailed,
    ConversationInUse,
    HookError,
    TurnCancelled,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)

if TYPE_CHECKING:
    from agy_actors._agents.record import AgentSpec, PendingTurn
    from agy_actors._agents.turn import Turn
    from agy_actors._sdk.error_text import ModelFailure
    from agy_actors._sdk.hook_calls import HookFailed

__all__ = [
    "RetryDecision",
    "cancelled",
    "cut_off",
    "decide_retry",
    "error_of_steps",
    "failure_behind_break",
    "failure_behind_timeout",
    "hook_failed",
    "interrupted",
    "model_failed",
    "stuck_turn",
    "timed_out",
]


class RetryDecision(NamedTuple):
    """The decision after a failed attempt of a turn."""

    error: TurnError | ConversationInUse
    """The error that the turn ends with if it is not retried."""

    delay: float | None = None
    """Seconds until the next attempt; `None` for no further attempt."""

    mistake: Exception | None = None
    """The exception of the user's retry policy, if it raised one. Then there is no retry."""


def decide_retry(
    spec: AgentSpec,
    pending: PendingTurn,
    error: TurnError | ConversationInUse,
    *,
    streamed: bool,
    now: float,
) -> RetryDecision:
    """Decide whether a failed turn is tried again.

    Args:
        spec: the agent's, whose retry policy applies.
        pending: the turn.
        error: the error of the attempt.
        streamed: whether a reader of a stream has got a part of the answer.
        now: the time, on the clock of the turn's deadline.
    """
    last = pending.crashes.final_error(error, f"agent {spec.name!r}")
    if last is not error:
        return RetryDecision(last)
    if pending.cancelled or pending.answered or streamed:
        return RetryDecision(error)
    attempts = pending.attempt + pending.refusals
    try:
        delay = spec.retry.delay(error, attempts, now - pending.started)
    except Exception as mistake:  # noqa: BLE001 (its policies are the user's own functions)
        return RetryDecision(error, mistake=mistake)
    if delay is None or now + delay >= pending.deadline:
        return RetryDecision(error)
    return RetryDecision(error, delay)


def cancelled(who: str, turn: Turn) -> TurnError:
    """Make the error of a cancelled turn."""
    return TurnCancelled(
        f"the turn of {who} was cancelled", text=turn.text, tool_calls=turn.tool_calls
    )


def timed_out(
    who: str, turn: Turn, seconds: float, waited_for: tuple[str, ...], *, stalled: bool
) -> TurnError:
    """Make the error of a turn whose time is over, or that had no output for too long.

    Args:
        who: the agent.
        turn: the turn.
        seconds: its duration, or the time without output.
        waited_for: the tools and hooks that were running.
        stalled: whether it had no output for too long.
    """
    kind = TurnStalled if stalled else TurnTimeout
    what = "was silent for" if stalled else "did not end within"
    waiting = f" while it waited for {' and '.join(waited_for)}" if waited_for else ""
    return kind(
        f"a turn of {who} {what} {seconds:g} seconds and was cancelled{waiting}",
        text=turn.text,
        tool_calls=turn.tool_calls,
    )


def failure_behind_timeout(turn: Turn) -> ModelFailure | None:
    """Return the failure of the model's service that explains a turn without an end."""
    return turn.failure or turn.stderr_hints.certain() or turn.stderr_hints.refusal()


def failure_behind_break(turn: Turn, reason: str) -> ModelFailure | None:
    """Return the failure of the model's service that explains a broken session."""
    return diagnose(reason) or turn.failure or turn.stderr_hints.certain()


def model_failed(spec: AgentSpec, turn: Turn, failure: ModelFailure) -> TurnError:
    """Make the error of a turn that the model's service ended."""
    who = f"agent {spec.name!r}"
    if turn.compaction_failed:
        return CompactionFailed(
            f"the conversation of {who} cannot go on: in an earlier turn, the request to the"
            f" model to summarise it failed ({failure.message}), and the harness does not"
            " repeat it; Delete the agent and create it again, or give it a new"
            " conversation_id",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )
    return model_error(
        failure, who, service=spec.service, text=turn.text, tool_calls=turn.tool_calls
    )


def hook_failed(who: str, turn: Turn, failed: HookFailed, problem: str) -> TurnError:
    """Make the error of a turn that a failed hook ended."""
    return HookError(
        f"{failed.hook} of {who} {problem}; the turn was ended",
        hook=failed.hook,
        text=turn.text,
        tool_calls=turn.tool_calls,
    )


def interrupted(who: str, turn: Turn, reason: str) -> TurnError:
    """Make the error of a turn whose process or connection ended."""
    return TurnInterrupted(
        f"a turn of {who} was cut off: its process ended or its connection broke"
        f" ({' '.join(reason.split())})",
        text=turn.text,
        tool_calls=turn.tool_calls,
    )


def cut_off(who: str, turn: Turn) -> TurnError:
    """Make the error of a turn whose thread is abandoned."""
    return TurnInterrupted(
        f"a turn of {who} was cut off: a tool, a hook or a handler held up the agent's thread",
        text=turn.text,
        tool_calls=turn.tool_calls,
    )


def stuck_turn(who: str, failure: ModelFailure | None) -> TurnError:
    """Make the error of an incarnation whose turn cannot be cancelled."""
    if failure is not None and failure.culprit is not None:
        return model_error(failure, who)
    return TurnInterrupted(f"a turn of {who} could not be ended")


def error_of_steps(spec: AgentSpec, turn: Turn) -> TurnError | None:
    """Return the error of a turn whose steps exceed the agent's limits, or `None`.

    The limits count consecutive errors of the model, and consecutive empty steps.
    """
    failure = turn.failure
    if failure is not None and 0 < spec.max_model_errors <= turn.model_errors:
        words = f"{turn.model_errors} errors in a row; {failure.message}"
        return model_failed(spec, turn, failure._replace(message=words))
    if not 0 < spec.max_empty_steps <= turn.empty_steps:
        return None
    return TurnStalled(
        f"a turn of agent {spec.name!r} had {turn.empty_steps} steps in a row without text or tool"
        " call",
        text=turn.text,
        tool_calls=turn.tool_calls,
    )
