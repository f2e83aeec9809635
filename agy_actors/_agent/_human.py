"""A human in the loop: confirmations and questions, answered from any thread.

Guarantees:

*   Whoever is asked holds up the one turn that waits for the answer, and nothing else:
    queries and `Cancel` are answered meanwhile, and no silence counts as a stall.
*   A person asked in a turn that ends is asked no more: the reply is cancelled.
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

from agy_actors._agent._errors import InvalidConfig
from agy_actors._agent.human_answers import respond
from agy_actors._agent.turn_caller import running_turn
from agy_actors._events import AgentEvent
from agy_actors._harness import isolate, name_of, run_in_thread
from agy_actors._kernel import ReplyFuture, check_flag, check_optional_seconds, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from google.antigravity import AgentConfig
    from google.antigravity.hooks.hooks import HookContext
    from google.antigravity.types import AskQuestionInteractionSpec

    from agy_actors._agent._turns import TurnTakingActor

    Answer = str | Sequence[str] | QuestionResponse | None

__all__ = ["ConfirmationAsked", "QuestionAsked", "confirmations", "off_the_loop", "questions"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationAsked(AgentEvent):
    """An agent may call a tool only if a person agrees: answer by `event.reply.set(True)`."""

    tool_call: ToolCall

    reason: str
    """Why it is asked, where the policy tells."""

    reply: ReplyFuture[bool] = dataclasses.field(compare=False)
    """For any thread to set. Done already if the turn has ended or the time is over."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(AgentEvent):
    """A model asks a person: answer by `event.reply.set([...])`, one for each question."""

    questions: tuple[AskQuestionEntry, ...]

    reply: ReplyFuture[Sequence[Answer]] = dataclasses.field(compare=False)
    """For any thread to set. An answer is the text of an option or any other, several
    such where several may be chosen, the SDK's own `QuestionResponse`, or `None` for none.
    What is none of these counts as skipped, lone surrogates are replaced, and the log says so.
    Done already if the turn has ended or the time is over."""


def confirmations(
    handler: Callable[..., bool | Awaitable[bool]] | None = None,
    *,
    timeout: float | None = None,
    default: bool = False,
) -> Callable[[ToolCall, str | None], Coroutine[Any, Any, bool]]:
    """Make the handler of a policy that asks a person: `policy.ask_user(tool, handler=...)`.

    Args:
        handler: asks, given the tool call and, if it takes two arguments, the reason. A
            plain function runs on a thread of its own, and may block. `None` publishes a
            `ConfirmationAsked` to the supervisor's subscribers, and waits for its reply.
        timeout: seconds for the answer, or `None` for as long as the turn may take.
        default: the answer when the time is over, or when nobody has subscribed.

    Raises:
        InvalidConfig: the timeout is not a number of seconds above 0, or another argument is
            of the wrong kind.
    """
    timeout = check_optional_seconds("timeout", timeout, error=InvalidConfig)
    default = check_flag("default", default, error=InvalidConfig)
    if handler is not None and not callable(handler):
        raise InvalidConfig(f"handler is a function of a tool call, got {shown(handler)}")

    async def ask(tool_call: ToolCall, reason: str | None = "") -> Any:
        turn = running_turn()
        if handler is not None:
            called = _call(handler, tool_call, reason or "")
            return await _answer(turn, called, timeout, default)
        reply: ReplyFuture[bool] = ReplyFuture()
        if turn is None or not turn.announce(
            ConfirmationAsked, tool_call=tool_call, reason=reason or "", reply=reply
        ):
            logger.warning(
                "Nobody has subscribed who could confirm {}: taken as {}", tool_call.name, default
            )
            return default
        return await _answer(turn, reply, timeout, default)

    ask.__qualname__ = "confirmations" if handler is None else name_of(handler)
    return ask


def questions(*, timeout: float | None = None) -> OnInteractionHook:
    """Make the hook that has a model's questions answered by a person: for `hooks=[...]`.

    Each is published as a `QuestionAsked` to the supervisor's subscribers. If nobody has
    subscribed, or answers in time, the model is told that the questions were skipped.

    Args:
        timeout: seconds for the answers, or `None` for as long as the turn may take.

    Raises:
        InvalidConfig: the timeout is not above 0.
    """
    return _Questions(check_optional_seconds("timeout", timeout, error=InvalidConfig))


class _Questions(OnInteractionHook):
    def __init__(self, timeout: float | None) -> None:
        self.__qualname__ = questions.__qualname__  # By which its user knows it.
        self._timeout = timeout

    async def run(
        self, context: HookContext, data: AskQuestionInteractionSpec
    ) -> QuestionHookResult:
        del context
        turn = running_turn()
        asked = tuple(data.questions)
        reply: ReplyFuture[Sequence[Answer]] = ReplyFuture()
        answers: Any = ()
        if turn is not None and turn.announce(QuestionAsked, questions=asked, reply=reply):
            answers = await _answer(turn, reply, self._timeout, ())
        else:
            logger.warning("Nobody has subscribed who could answer a model's question: skipped")
        responses, problems = respond(asked, answers)
        for problem in problems:
            logger.warning("A model's questions were answered: {}", problem)
        return QuestionHookResult(responses=responses)


def off_the_loop(config: AgentConfig) -> dict[str, Any]:
    """Return what to change in a configuration for its policies not to block the agent.

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


async def _answer(
    turn: TurnTakingActor | None, reply: Any, timeout: float | None, default: Any
) -> Any:
    """Wait for the answer of a person, for as long as the turn and the timeout last."""
    if turn is None:
        return await asyncio.wait_for(reply, timeout)
    turn.adopt(reply)
    limit = asyncio.timeout(timeout)
    with turn.person_asked():
        try:
            async with limit:
                return await reply
        except TimeoutError:
            if not limit.expired():  # It is the handler's own.
                raise
            logger.warning("Nobody answered within {:g} seconds: taken as {}", timeout, default)
        except (asyncio.CancelledError, concurrent.futures.CancelledError):
            if not reply.cancelled():  # Else the turn has ended, or the person would not say.
                raise
        finally:
            reply.cancel()
    return default
