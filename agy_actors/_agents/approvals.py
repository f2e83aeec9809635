"""A human in the loop: confirmations and questions, answered from any thread.

Guarantees:

*   A person who is asked delays only the turn that waits for the answer: queries and `Cancel` are
    answered meanwhile, and the silence does not count as a stall.
*   When the turn ends, the question is withdrawn: its reply is cancelled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any

from google.antigravity.hooks import OnInteractionHook
from google.antigravity.types import (
    AskQuestionEntry,
    QuestionHookResult,
    QuestionResponse,
    ToolCall,
)
from loguru import logger

from agy_actors._actors.arguments import check_flag, check_optional_seconds, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._agents.approval_answers import respond
from agy_actors._agents.human_reply import HumanReply
from agy_actors._agents.turn_caller import running_turn
from agy_actors._sdk.call_outcomes import isolate, name_of, run_in_thread
from agy_actors._supervision.events import AgentEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from google.antigravity import AgentConfig
    from google.antigravity.hooks import HookContext
    from google.antigravity.types import AskQuestionInteractionSpec

    from agy_actors._agents.running_turn import RunningTurn

    Answer = str | Sequence[str] | QuestionResponse | None

__all__ = ["ConfirmationAsked", "QuestionAsked", "confirmations", "off_the_loop", "questions"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationAsked(AgentEvent):
    """An agent needs a person's consent for a tool call: answer with `event.reply.set(True)`."""

    tool_call: ToolCall
    """The call, with its arguments."""

    reason: str
    """The policy's reason; empty if it states no reason."""

    reply: HumanReply[bool] = dataclasses.field(compare=False)
    """Takes the answer, from any thread. A second answer is ignored, and so is one that comes after
    the turn's end or after the timeout."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(AgentEvent):
    """A model asks a person: answer with `event.reply.set([...])`, one item per question."""

    questions: tuple[AskQuestionEntry, ...]
    """The questions with their options, as the SDK's own objects."""

    reply: HumanReply[Sequence[Answer]] = dataclasses.field(compare=False)
    """Takes the answers, from any thread. An answer is text (an option's or any other), several
    texts if several options may be chosen, the SDK's `QuestionResponse`, or `None` to skip the
    question. Anything else counts as skipped, and lone surrogates are replaced; the log says so. A
    second answer is ignored, and so is one that comes after the turn's end or after the timeout."""


def confirmations(
    handler: Callable[..., bool | Awaitable[bool]] | None = None,
    *,
    timeout: float | None = None,
    default: bool = False,
) -> Callable[[ToolCall, str | None], Coroutine[Any, Any, bool]]:
    """Make a handler for a policy that asks a person: `policy.ask_user(tool, handler=...)`.

    Args:
        handler: asks the person. It gets the tool call and, if it takes two arguments, the
            reason. A plain function runs on a thread of its own and may block. `None` publishes
            a `ConfirmationAsked` to the supervisor's subscribers and waits for its reply.
        timeout: seconds for the answer; `None` waits for as long as the turn may take.
        default: the answer after the timeout, or without a subscriber.

    Raises:
        InvalidConfig: the timeout is not a number of seconds > 0, or another argument has the
            wrong type.
    """
    timeout = check_optional_seconds("timeout", timeout, error=InvalidConfig)
    default = check_flag("default", default, error=InvalidConfig)
    if handler is not None and not callable(handler):
        raise InvalidConfig(f"handler must be a function of a tool call, got {shown(handler)}")

    async def ask(tool_call: ToolCall, reason: str | None = "") -> Any:
        turn = running_turn()
        if handler is not None:
            called = _call(handler, tool_call, reason or "")
            return await _answer(turn, called, timeout, default)
        reply: HumanReply[bool] = HumanReply()
        if turn is None or not turn.announce(
            ConfirmationAsked, tool_call=tool_call, reason=reason or "", reply=reply
        ):
            reply.cancel()
            logger.warning(
                "no subscriber can confirm {}; using the default ({})", tool_call.name, default
            )
            return default
        return await _answer(turn, reply, timeout, default)

    ask.__qualname__ = "confirmations" if handler is None else name_of(handler)
    return ask


def questions(*, timeout: float | None = None) -> OnInteractionHook:
    """Make a hook that asks a person the model's questions: for `hooks=[...]`.

    The questions are published as a `QuestionAsked` to the supervisor's subscribers. Without a
    subscriber, or without an answer in time, the model is told that the questions were skipped.

    Args:
        timeout: seconds for the answers; `None` waits for as long as the turn may take.

    Raises:
        InvalidConfig: the timeout is not a number of seconds > 0.
    """
    return _Questions(check_optional_seconds("timeout", timeout, error=InvalidConfig))


class _Questions(OnInteractionHook):
    def __init__(self, timeout: float | None) -> None:
        self.__qualname__ = questions.__qualname__  # The name that users know.
        self._timeout = timeout

    async def run(
        self, context: HookContext, data: AskQuestionInteractionSpec
    ) -> QuestionHookResult:
        del context
        turn = running_turn()
        asked = tuple(data.questions)
        reply: HumanReply[Sequence[Answer]] = HumanReply()
        answers: Any = ()
        if turn is not None and turn.announce(QuestionAsked, questions=asked, reply=reply):
            answers = await _answer(turn, reply, self._timeout, ())
        else:
            reply.cancel()
            logger.warning("no subscriber can answer a model's question; it is skipped")
        responses, problems = respond(asked, answers)
        for problem in problems:
            logger.warning("A model's questions were answered: {}", problem)
        return QuestionHookResult(responses=responses)


def off_the_loop(config: AgentConfig) -> dict[str, Any]:
    """Return the changes to a configuration that keep its policies from blocking the agent.

    The SDK calls a plain function that asks the user on the agent's own thread.
    """
    policies = getattr(config, "policies", None)
    if not policies or not any(_blocks(policy) for policy in policies):
        return {}
    return {
        "policies": [
            dataclasses.replace(policy, ask_user=_like(policy.ask_user))
            if _blocks(policy)
            else policy
            for policy in policies
        ]
    }


def _blocks(policy: Any) -> bool:
    handler = getattr(policy, "ask_user", None)
    return handler is not None and not (
        inspect.iscoroutinefunction(handler)
        or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 # an object
    )


def _like(handler: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(handler)(confirmations(handler))


def _call(handler: Callable[..., Any], tool_call: ToolCall, reason: str) -> asyncio.Future[Any]:
    arguments = _arguments(handler, tool_call, reason)

    async def call() -> Any:
        if inspect.iscoroutinefunction(handler):
            return (await isolate(handler(*arguments))).get()
        outcome = await run_in_thread(handler, *arguments)
        if inspect.isawaitable(outcome.value):
            outcome = await isolate(outcome.value)
        return outcome.get()

    return asyncio.ensure_future(call())


def _arguments(handler: Callable[..., Any], tool_call: ToolCall, reason: str) -> tuple[Any, ...]:
    try:
        inspect.signature(handler).bind(tool_call, reason)
    except (TypeError, ValueError):
        return (tool_call,)
    return (tool_call, reason)


async def _answer(turn: RunningTurn | None, reply: Any, timeout: float | None, default: Any) -> Any:
    """Wait for a person's answer, until the turn ends or the timeout is over."""
    if turn is None:
        return await asyncio.wait_for(reply, timeout)
    turn.adopt(reply)
    limit = asyncio.timeout(timeout)
    with turn.person_asked():
        try:
            async with limit:
                return await reply
        except TimeoutError:
            if not limit.expired():  # The handler raised it.
                raise
            asked = "confirmation" if isinstance(default, bool) else "questions"
            words = "no answer to the {} within {:g} s; using the default ({})"
            logger.warning(words, asked, timeout, default)
        except (asyncio.CancelledError, concurrent.futures.CancelledError):
            if not reply.cancelled():  # Otherwise the turn has ended, or the person did not answer.
                raise
        finally:
            reply.cancel()
    return default
