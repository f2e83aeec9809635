"""Runs an agent's hooks, policies and handlers so that their failures cannot harm the agent.

What google-antigravity 0.1.22 does with their errors, measured with `ScriptedModel`:

*   A `pre_turn` hook that raises, or returns no `HookResult`, ends the connection. So does an
    exception of one of the SDK's own hooks for steps.
*   An `Exception` of a hook or a policy that decides on a tool call denies the call, and the
    model sees the error. One of a hook that only observes is logged. One of a `stop` hook lets the
    turn end. The model gets one of an `on_interaction` hook as the user's answer. One of an
    `on_session_start` hook is logged, and the agent starts.
*   After any other `BaseException`, the harness waits for the hook's answer forever.
*   The harness cannot end a turn while it waits for a hook at the turn's start or end, or at a
    compaction. It can while it waits for a hook about a tool call; if the hook answers after that,
    the harness closes the connection.

Here, a hook that fails denies what it decides on, if it decides on something. Whether the failure
also ends the turn depends on the kind of hook: see `_Kind.ends_turn`. A `BaseException` that is not
an `Exception` always ends the turn, and so does a result of a wrong type.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any

from google.antigravity.hooks import policy
from google.antigravity.types import HookResult, QuestionHookResult, StopHookResult
from loguru import logger

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.call_outcomes import (
    Outcome,
    Raised,
    await_here,
    capture,
    describe,
    isolate,
    name_of,
)
from agy_actors._sdk.runner_patches import no_variables
from agy_actors._sdk.step_watch import disconnected
from agy_actors._sdk.valid_values import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    from google.antigravity import Agent

__all__ = ["KINDS", "HookCalls", "HookFailed", "PromptDenied", "guard_hooks", "guard_policies"]

_MAX_LENGTH = 2_000  # Characters of a hook's error. Arbitrary: a long message, not a document.


class PromptDenied(AgyActorsError):
    """A hook denied the prompt. The message is the hook's. The conversation continues."""


class HookFailed(AgyActorsError):
    """A hook, a policy or a handler raised an error, or returned a value of a wrong type."""

    def __init__(self, hook: str, problem: str, kind: str = "") -> None:
        super().__init__(f"{hook} {problem}")
        self.hook = hook
        """Its kind and its name, as in "pre_turn hook 'check_budget'"."""
        self.problem = problem
        """The failure, as in "raised ValueError: no budget"."""
        self.kind = kind
        """The type of the error or result. It contains no text that could quote a prompt."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of hook: what it may return, and what happens if one fails."""

    name: str
    """The name in the SDK's decorators."""

    where: str = ""
    """The attribute of the SDK's runner that lists the hooks."""

    accepts: Callable[[Any], bool] = lambda _: True
    """Returns whether a hook may return a value."""

    wanted: str = ""
    """What a hook may return, for the error message."""

    ends_turn: bool = False
    """Whether an `Exception` ends the turn. Any other `BaseException` always does."""

    denial: Callable[[str], Any] = lambda _: None
    """Returns the answer in place of a hook that failed. The argument is the failure."""

    ends_it_at_once: bool = True
    """Whether a failure ends the turn at once. If not, the turn ends by itself right after the
    hooks of this kind."""

    must_answer_in_time: bool = False
    """Whether the harness may end a turn without the hook's answer. A later answer must not be
    sent."""

    in_task: bool = True
    """Whether each hook runs in its own task."""


def _deny(why: str) -> HookResult:
    return HookResult(allow=False, message=why)


def _one_of(*types: type | None) -> Callable[[Any], bool]:
    return lambda value: any(
        value is None if kind is None else isinstance(value, kind) for kind in types
    )


_SESSION_START = _Kind(name="on_session_start hook", where="_on_session_start_hooks")
_SESSION_END = _Kind(name="on_session_end hook", where="_on_session_end_hooks")
_STEP = _Kind(name="step hook", where="_pre_step_hooks_list", in_task=False)
# The SDK's telemetry enters a context variable in one step hook and leaves it in the next one, so
# these hooks must run in one context.
KINDS = (
    _Kind(
        name="pre_turn hook",
        where="_pre_turn_hooks",
        accepts=_one_of(HookResult),
        wanted="a HookResult",
        ends_turn=True,
        denial=_deny,
        ends_it_at_once=False,
    ),
    _Kind(name="post_turn hook", where="_post_turn_hooks", ends_it_at_once=False),
    _Kind(
        name="stop hook",
        where="_stop_hooks",
        accepts=_one_of(StopHookResult, None),
        wanted="a StopHookResult or None",
        ends_turn=True,
        denial=lambda _: StopHookResult(),
        ends_it_at_once=False,
    ),
    _Kind(
        name="pre_tool_call_decide hook",
        where="_pre_tool_call_decide_hooks",
        accepts=_one_of(HookResult),
        wanted="a HookResult",
        denial=_deny,
        must_answer_in_time=True,
    ),
    _Kind(name="post_tool_call hook", where="_post_tool_call_hooks", must_answer_in_time=True),
    _Kind(name="on_tool_error hook", where="_on_tool_error_hooks", must_answer_in_time=True),
    _Kind(
        name="on_interaction hook",
        where="_on_interaction_hooks",
        accepts=_one_of(QuestionHookResult, None),
        wanted="a QuestionHookResult or None",
        ends_turn=True,
        must_answer_in_time=True,
    ),
    _Kind(name="on_compaction hook", where="_on_compaction_hooks"),
    _STEP,
    dataclasses.replace(_STEP, where="_post_step_hooks_list"),
    _SESSION_START,
    _SESSION_END,
)
_WHEN = _Kind(name="when predicate", must_answer_in_time=True)
_ASK_USER = _Kind(
    name="ask_user handler",
    # The SDK takes any true value for a yes, such as "no" and every HookResult.
    accepts=lambda value: not isinstance(value, str | bytes | HookResult),
    wanted="True or False",
    must_answer_in_time=True,
)


class HookCalls:
    """Calls the hooks of one conversation. For the agent's loop.

    Args:
        on_failure: called with each failure.
        interrupt: called with a failure that must end the running turn at once.
        around: returns the context manager that each call runs in.
    """

    def __init__(
        self,
        on_failure: Callable[[HookFailed], None],
        interrupt: Callable[[HookFailed], None],
        around: Callable[..., AbstractContextManager[None]] = no_variables,
    ) -> None:
        self._around = around
        self._on_failure = on_failure
        self._interrupt = interrupt
        self._failure: HookFailed | None = None
        self._denial: str | None = None
        self._running: dict[asyncio.Future[None], str] = {}
        self.started: asyncio.Future[HookFailed | None] | None = None
        """Done when the hooks at the session's start have run; `None` without such hooks."""

    @property
    def at_work(self) -> tuple[str, ...]:
        """The hooks that are running, by kind and name."""
        return tuple(self._running.values())

    async def wait_for_start(self, agent: Agent) -> None:
        """Wait for the hooks at the session's start. The harness calls them when it is open.

        Raises:
            HookFailed: one of them failed.
            ConnectionError: the connection was closed first.
        """
        if self.started is None:
            return
        await asyncio.wait([self.started, disconnected(agent)], return_when=asyncio.FIRST_COMPLETED)
        if not self.started.done():
            raise ConnectionError("the harness closed the connection while the session started")
        failure = self.started.result()
        if failure is not None:
            raise failure

    @property
    def denied(self) -> bool:
        """Whether a hook denied the turn's prompt."""
        return self._denial is not None

    def note_denial(self, reason: str) -> None:
        """Note that a hook denied the turn's prompt, and why."""
        self._denial = reason

    def begin_turn(self) -> None:
        """Clear the failure or denial that ended the previous turn."""
        self._failure = self._denial = None

    def end_turn(self, *, cancelled: bool = False) -> None:
        """Raise the failure or denial that ended the turn, if there is one.

        Args:
            cancelled: whether the turn was cancelled. The SDK then reports a denial that may not
                come from a hook.

        Raises:
            HookFailed: a hook failed.
            PromptDenied: a hook denied the turn's prompt.
        """
        failure, denial = self._failure, self._denial
        self.begin_turn()
        if failure is not None:
            raise failure from None
        if denial is not None and not cancelled:
            raise PromptDenied(denial) from None

    def cancel(self) -> None:
        """Cancel the running hooks of a turn that is about to end, and clear its failure."""
        self._failure = None
        for over in self._running:
            if not over.done():
                over.set_result(None)

    async def call(self, kind: _Kind, name: str, hook: Callable[[], Awaitable[Any]]) -> Outcome:
        """Call a hook, and return its result or a `HookFailed` in an `Outcome`."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[over] = name
        try:
            with self._around(variables=False):  # They are set around all hooks of a kind.
                outcome = await (isolate(hook(), until=over) if kind.in_task else await_here(hook))
            if over.done():
                return self._cancelled(kind, name)
            failure, ends_turn = _judge(kind, name, outcome)
            if failure is None:
                return outcome
            self._on_failure(failure)
            if ends_turn and kind not in (_SESSION_START, _SESSION_END):
                self._end_turn(kind, failure)
                if kind.must_answer_in_time:
                    # Otherwise the model might get another request before the turn ends.
                    await over
                    return self._cancelled(kind, name)
            return Outcome(error=failure)
        finally:
            del self._running[over]

    def _end_turn(self, kind: _Kind, failure: HookFailed) -> None:
        first, self._failure = self._failure is None, self._failure or failure
        if first and kind.ends_it_at_once:
            self._interrupt(failure)

    def _cancelled(self, kind: _Kind, name: str) -> Outcome:
        if kind.must_answer_in_time:
            # This ends the SDK's task without sending an answer.
            raise asyncio.CancelledError
        return Outcome(error=HookFailed(name, "was cancelled with the turn"))


def _judge(kind: _Kind, name: str, outcome: Outcome) -> tuple[HookFailed | None, bool]:
    """Return the failure of a hook, or `None`, and whether it ends the turn."""
    error = outcome.error
    if error is None:
        if kind.accepts(outcome.value):
            return None, False
        problem = f"returned {shown(outcome.value)}; it must return {kind.wanted}"
        return HookFailed(name, problem, type(outcome.value).__name__), True
    if isinstance(error, Raised):
        error = error.error
    text = describe(error)
    if len(text) > _MAX_LENGTH:
        text = f"{text[:_MAX_LENGTH]} …"
    failure = HookFailed(name, f"raised {text}", type(error).__name__)
    return failure, kind.ends_turn or not isinstance(error, Exception)


class _GuardedHook:
    """Replaces a hook in the SDK's runner."""

    def __init__(self, hook: Any, kind: _Kind, calls: HookCalls) -> None:
        self._hook = hook
        self._kind = kind
        self._calls = calls
        self._name = f"{kind.name} {name_of(hook)!r}"

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            return await self._hook.run(*args, **kwargs)

        outcome = await self._calls.call(self._kind, self._name, call)
        if outcome.error is None:
            valid = capture(replace_surrogates, outcome.value)
            if valid.error is not None or valid.value is outcome.value:
                return outcome.value
            logger.warning("The result of {} contains lone surrogates: replaced", self._name)
            return valid.value
        if self._kind is _SESSION_START:
            raise outcome.error
        return self._kind.denial(str(outcome.error))


def guard_hooks(runner: Any, calls: HookCalls) -> None:
    """Call a runner's hooks through `calls`.

    Args:
        runner: the SDK's runner of an agent's hooks. All hooks are registered.
        calls: the `HookCalls` of the agent's conversation.
    """
    for kind in KINDS:
        hooks: list[Any] = getattr(runner, kind.where, [])
        hooks[:] = [_GuardedHook(hook, kind, calls) for hook in hooks]
    if not getattr(runner, _SESSION_START.where, ()):
        return
    started = calls.started = asyncio.get_running_loop().create_future()
    dispatch = runner.dispatch_session_start

    async def dispatch_session_start(*args: Any, **kwargs: Any) -> None:
        failure: HookFailed | None = None
        try:
            await dispatch(*args, **kwargs)
        except HookFailed as error:
            failure = error
        if not started.done():
            started.set_result(failure)

    runner.dispatch_session_start = dispatch_session_start


def guard_policies(policies: Sequence[Any], calls: HookCalls) -> list[policy.Policy]:
    """Return copies of policies whose predicates and handlers are called through `calls`.

    One that fails raises `HookFailed`, and the SDK denies the tool call.
    """
    return [_guard_policy(rule, calls) for rule in policy.flatten_policies(policies)]


def _guard_policy(rule: policy.Policy, calls: HookCalls) -> policy.Policy:
    guarded = copy.copy(rule)
    owner = rule.name or rule.tool
    for field, kind in (("when", _WHEN), ("ask_user", _ASK_USER)):
        function = getattr(rule, field)
        if function is not None:
            # A policy is frozen, and some kinds cannot be constructed with this field.
            object.__setattr__(guarded, field, _guard_function(function, kind, owner, calls))
    return guarded


def _guard_function(
    function: Callable[..., Any], kind: _Kind, owner: str, calls: HookCalls
) -> Callable[..., Any]:
    name = f"{kind.name} {name_of(function)!r} of policy {owner!r}"

    async def call(*args: Any, **kwargs: Any) -> Any:
        async def call_it() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return (await calls.call(kind, name, call_it)).get()

    call.__annotations__ = {}  # Otherwise the SDK would not read those of the function.
    return functools.update_wrapper(call, function)
