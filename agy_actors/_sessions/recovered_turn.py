"""Finds out from a conversation what became of a turn that was interrupted. Pure."""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING

from google.antigravity.types import StepSource, StepType, StopReason

from agy_actors._agents.agent_messages import ChatReply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.antigravity.types import Step

    from agy_actors._sessions.stored_request import StoredRequest

__all__ = ["Unfinished", "find_turn"]


class Unfinished(enum.Enum):
    """Why an interrupted turn has no answer in its conversation."""

    SAFE = "safe"
    """It was not begun, or called no tool: it can be tried again."""

    UNSAFE = "unsafe"
    """It called a tool, whose effects another attempt would repeat."""


def find_turn(
    steps: Sequence[Step], request: StoredRequest, conversation_id: str
) -> ChatReply | Unfinished:
    """Return the reply of a request's interrupted turn, or why there is none.

    Args:
        steps: the steps of the conversation.
        request: the request, which was attempted.
        conversation_id: the id of the conversation.
    """
    turns = _turns_of(_since(steps, request.history_length or 0), request.chat.prompt)
    # An agent that crashed may have sent the prompt again.
    turn = turns[-1] if turns else ()
    calls = tuple(call for step in turn for call in step.tool_calls)
    own = [step for step in turn if not step.parent_trajectory_id]
    last = own[-1] if own else None
    if last is None or not (last.is_complete_response or last.type == StepType.FINISH):
        called = any(step.tool_calls for turn in turns for step in turn)
        return Unfinished.UNSAFE if called else Unfinished.SAFE
    texts = [step.content for step in own if step.is_complete_response]
    structured = [step.structured_output for step in own if step.structured_output is not None]
    return ChatReply(
        text="".join(texts),
        thoughts="".join(step.thinking for step in own),
        tool_calls=calls,
        structured_output=structured[-1] if structured else None,
        stop_reason=StopReason.UNSPECIFIED,
        attempts=max(1, request.attempts),
        conversation_id=conversation_id,
        metadata=request.chat.metadata,
    )


def _since(steps: Sequence[Step], length: int) -> Sequence[Step]:
    """Return the steps that came when the conversation had `length` steps of its own."""
    for place, step in enumerate(steps):
        if not step.parent_trajectory_id and step.step_index >= length:
            return steps[place:]
    return ()


def _turns_of(steps: Sequence[Step], prompt: object) -> list[Sequence[Step]]:
    """Return the steps of each turn with a prompt, without the prompt itself."""
    prompts = [i for i, step in enumerate(steps) if step.source == StepSource.USER]
    return [
        steps[begin + 1 : end]
        for begin, end in itertools.pairwise([*prompts, len(steps)])
        # The harness shows a prompt of several parts in its own words.
        if not isinstance(prompt, str) or steps[begin].content == prompt
    ]
