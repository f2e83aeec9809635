"""An open SDK agent, and the defects of it that must not get out (DESIGN, F1 to F9).

Everything that the SDK raises ends here: `AntigravityCancelledError`, which is a
BaseException, becomes a return value, and a connection that was closed behind our back
becomes a `SessionBroken` instead of an empty answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from google.antigravity.types import AntigravityCancelledError, StepSource, StopReason
from loguru import logger

from agy_actors._agent.mending import mend_conversation
from agy_actors._agent.ownership import Holder
from agy_actors._agent.private_folders import make_private_folders
from agy_actors._agent.session_errors import (
    HELD,
    ConversationHeld,
    SessionBroken,
    reason_of,
    until_let_go,
)
from agy_actors._agent.start_errors import explain_start
from agy_actors._harness import (
    Harness,
    HookCalls,
    HookFailed,
    PromptDenied,
    interrupt,
    make_agent,
    watch_steps,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.antigravity import Agent, AgentConfig
    from google.antigravity.types import SandboxStatus, Step, UsageMetadata

    from agy_actors._agent.ownership import ConversationLock
    from agy_actors._agent.saving import SaveWatch
    from agy_actors._harness import OnLine, Variables
    from agy_actors._kernel import AsyncioActorRef

__all__ = ["ConversationHeld", "HookFailed", "PromptDenied", "Session", "SessionBroken"]


_LAST_WORDS = 1.0
"""Seconds for the SDK to close what belongs to a killed process. It takes milliseconds."""


class Session:
    """One SDK agent, opened, used and closed on one loop.

    Args:
        config: the SDK's configuration.
        start_timeout: seconds for it to come up, from when there is a process for it.
        stop_grace: seconds for a process of its own to end by itself.
        host: who has processes to share; `None` for one of its own.
        key: the fingerprint of its API key: it shares a process with others of the same only.
        on_line: called with each line of the harness's standard error, and whether it can be
            about no other conversation of the process, on any thread.
        has_turn: returns whether the harness may speak of this conversation, on any thread.
        on_death: called when the harness is gone, on any thread.
        on_step: called when a step has come, on the session's loop.
        lock: is held while the session is open. `None` if the conversation needs no owner.
        saving: watches over whether turns are saved. `None` if nobody cares.
        variables: returns the context variables, with their values, for tools and hooks.
        on_hook_failure: called when a hook or a handler has failed, on the session's loop.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        start_timeout: float,
        stop_grace: float,
        host: AsyncioActorRef | None = None,
        key: str = "",
        on_line: OnLine,
        has_turn: Callable[[], bool],
        on_death: Callable[[], None],
        on_step: Callable[[], None],
        lock: ConversationLock | None = None,
        saving: SaveWatch | None = None,
        variables: Callable[[], Variables] = tuple,
        on_hook_failure: Callable[[HookFailed], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._lock = lock
        self._saving = saving
        self._on_line = on_line
        self._start_timeout = start_timeout
        self._stop_grace = stop_grace
        self._start_limit: asyncio.Timeout | None = None
        self._hooks = HookCalls(on_hook_failure, lambda failure: interrupt(self._agent, failure))
        self._harness = Harness(
            host=host,
            conversation=config.conversation_id or "",
            key=key,
            grace=stop_grace,
            on_line=self._hear,
            has_turn=has_turn,
            on_death=on_death,
            on_wait=self._hold_start_limit,
            variables=variables,
            hooks=self._hooks,
        )
        self._agent = self._make_agent()
        self._on_step = on_step
        self._opened = False
        self._steps: AsyncIterator[Step] | None = None
        self._broken: SessionBroken | None = None
        self._prompt: Any = None
        self._cut = False
        """Whether a turn was cancelled since the last prompt went out."""
        self._answered = False
        """Whether the model has said something in this turn."""
        self._begun = True
        """Whether all that comes is of the turn of the last prompt."""

    @property
    def conversation_id(self) -> str:
        """The id of its conversation."""
        return self._config.conversation_id or ""

    @property
    def pid(self) -> int | None:
        """The process id of the harness, if there is one."""
        return self._harness.pid

    @property
    def last_words(self) -> str:
        """The last lines of the harness's standard error."""
        return self._harness.last_words

    @property
    def history(self) -> list[Step]:
        """The steps that the conversation brought along."""
        return self._agent.conversation.history

    @property
    def usage(self) -> UsageMetadata:
        """The conversation's usage so far."""
        return self._agent.conversation.total_usage

    @property
    def sandbox(self) -> SandboxStatus | None:
        """Whether there is a sandbox for commands, if the harness told."""
        return self._agent.conversation.sandbox_status

    @property
    def stop_reason(self) -> StopReason:
        """Why the last turn stopped."""
        reason = getattr(self._agent.conversation, "_last_turn_stop_reason", None)
        return reason if isinstance(reason, StopReason) else StopReason.UNSPECIFIED

    @property
    def busy(self) -> bool:
        """Whether the harness has a turn under way, asked for or begun by a trigger."""
        return self._opened and self._broken is None and not self._agent.conversation.is_idle

    @property
    def broken_reason(self) -> str:
        """Why it cannot be used any more, or nothing if it can."""
        return str(self._broken or "")

    @property
    def hooks_at_work(self) -> tuple[str, ...]:
        """The hooks, policies and handlers that run now, by kind and name."""
        return self._hooks.at_work

    async def open(self) -> None:
        """Open the agent.

        Raises:
            ConversationInUse: somebody else has the conversation open.
            TimeoutError: it did not come up in time.
            HookFailed: a hook at the session's start failed.
            Exception: whatever the SDK or the system raises. Nothing is left running.
        """
        # Before the harness does it: what it creates can be read by everybody.
        make_private_folders(self._config.save_dir, self._config.app_data_dir)
        if self._saving is not None:
            self._saving.open()
        if self._lock is not None:
            self._lock.take()
        try:
            async with asyncio.timeout(self._start_timeout) as self._start_limit:
                if self._lock is not None:
                    await self._lock.wait_for_harness(HELD)
                    await mend_conversation(self._config)
                await until_let_go()(self._open)
                self._opened = True
                await self._hooks.wait_for_start(self._agent)
        except BaseException as error:
            slow = " and ".join(self.hooks_at_work) or "the start"
            if self._opened:
                await self.close(at_once=not isinstance(error, HookFailed))
            else:
                self._harness.dispose()
                self._release_lock()
            if isinstance(error, ConversationHeld) and self._lock is not None:
                raise self._lock.in_use(Holder.here(error.pid)) from error
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"{slow} did not end in {self._start_timeout:g} s") from None
            raise
        self._harness.settle()
        watch_steps(self._agent, self._on_step)

    def _make_agent(self) -> Agent:
        agent = make_agent(self._config)
        self._harness.adopt(agent)
        return agent

    async def _open(self) -> None:
        try:
            await self._agent.__aenter__()
        except Exception as error:
            if not await self._harness.is_held():
                failure = explain_start(error, self._harness.refusal)
                if failure is None:
                    raise
                raise failure from error
            # Left behind a moment ago, as a rule: the harness finds out by and by.
            pid = self._harness.pid
            self._harness.dispose()
            self._agent = self._make_agent()
            raise ConversationHeld(
                f"the conversation {self._config.conversation_id} is open in another agent", pid
            ) from error

    async def send(self, prompt: Any) -> None:
        """Start a turn.

        Raises:
            SessionBroken: the prompt did not get out, or the connection was closed.
        """
        self._check()
        self._hooks.begin_turn()
        self._prompt = prompt
        self._begun = not self._cut
        self._cut = self._answered = False
        if self._saving is not None:
            await self._saving.begin_turn()
        try:
            await self._agent.conversation.send(prompt)
        except (Exception, AntigravityCancelledError) as error:
            raise self._break(reason_of(error)) from error

    async def next_step(self) -> Step | None:
        """Return the turn's next step, or `None` at its end, however that came.

        Raises:
            HookFailed: a hook failed. The turn has ended, or must be ended.
            PromptDenied: a hook denied the prompt, and the turn has ended.
            SessionBroken: the SDK raised, or the connection was closed before the end.
        """
        self._check()
        conversation = self._agent.conversation
        # Not the conversation's own, which keeps every step that it has seen. Each holds
        # all of its text so far: of a long answer, half its length times its steps.
        steps = self._steps or conversation.connection.receive_steps()
        self._steps = None
        try:
            step = await anext(steps)
        except StopAsyncIteration:
            if conversation.is_idle:
                if self._answered and self._saving is not None:
                    self._saving.end_turn()
                self._answered = False
                self._hooks.end_turn()
                return None
            # The SDK ends the iteration as if the turn had ended (F1).
            raise self._break("the harness closed the connection") from None
        except AntigravityCancelledError:
            return None
        except HookFailed:
            self._hooks.begin_turn()  # It is known now what ends this one.
            raise
        except Exception as error:
            if self._hooks.denied and conversation.is_idle:
                self._hooks.end_turn(cancelled=self._cut)
                return None
            raise self._break(reason_of(error)) from error
        self._steps = steps
        self._answered = self._answered or step.source == StepSource.MODEL
        if step.source == StepSource.USER and not self._begun:
            # Of a prompt that is more than text, nobody knows how its step reads.
            self._begun = not isinstance(self._prompt, str) or step.content == self._prompt
        return step

    @property
    def begun(self) -> bool:
        """Whether what comes is of the turn of the last prompt, and not of one before.

        The harness says that a cancelled turn has ended, and then sends what it still has of
        it, when the next prompt is on its way. A turn begins with its prompt as a step.
        """
        return self._begun

    async def cancel(self) -> None:
        """Ask the harness to end the turn.

        Raises:
            SessionBroken: the connection was closed.
        """
        self._cut = True
        self._hooks.cancel()
        try:
            await self._agent.conversation.cancel()
        except Exception as error:
            raise self._break(reason_of(error)) from error

    async def halt(self, grace: float) -> bool:
        """Cancel the turn, and return whether it ended and the conversation can go on."""
        try:
            async with asyncio.timeout(grace):
                await self.cancel()
                while await self._has_more():
                    pass
        except (SessionBroken, TimeoutError):
            return False
        return True

    async def _has_more(self) -> bool:
        """Read a step of a turn that is being ended, and return whether there was one."""
        try:
            return await self.next_step() is not None
        except (HookFailed, PromptDenied):
            return True

    def _hold_start_limit(self, waits: bool) -> None:
        # Where many start at once, the last is not to fail of waiting for its turn.
        if self._start_limit is not None:
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(RuntimeError):  # It is over just now.
                self._start_limit.reschedule(None if waits else now + self._start_timeout)

    def _hear(self, line: str, alone: bool) -> None:
        if self._saving is not None:
            self._saving.hear(line)
        self._on_line(line, alone)

    def _check(self) -> None:
        # The SDK would answer with nothing, and then not at all (F1).
        if self._broken is not None:
            raise SessionBroken(str(self._broken))

    def _break(self, reason: str) -> SessionBroken:
        self._broken = SessionBroken(reason)
        return self._broken

    def kill(self) -> None:
        """End the harness at once. Callable from any thread."""
        self._harness.kill()

    def reap(self) -> None:
        """End the harness at once, and wait for that. For a session whose loop hangs."""
        self._harness.reap()
        if self._lock is not None:
            self._lock.renounce()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def close(self, *, at_once: bool = False) -> None:
        """Close the agent, and leave nothing of its process behind. Never raises.

        Args:
            at_once: do not wait for the process to end by itself.
        """
        if not self._opened:
            return
        self._opened = False
        if self._saving is not None:
            await self._saving.close(at_once=at_once)
        if at_once:
            self._harness.kill()
        try:
            # The SDK waits for ever for a hook at the session's end.
            async with asyncio.timeout(_LAST_WORDS if at_once else self._stop_grace):
                await self._agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]
        except AntigravityCancelledError:
            pass
        except Exception as error:  # noqa: BLE001 (F6: the SDK raises for a killed process)
            if not at_once:
                # Not its words: they quote what the harness said, keys included.
                logger.debug("The SDK raised {} while an agent was closed", type(error).__name__)
        finally:
            try:
                with contextlib.suppress(ProcessLookupError):
                    self._harness.dispose()
            finally:
                self._release_lock()
