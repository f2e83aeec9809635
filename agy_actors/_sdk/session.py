"""`Session`: one open SDK agent, without the defects of google-antigravity 0.1.22.

No error of the SDK passes this module unchanged. `AntigravityCancelledError`, which is a
BaseException, becomes a return value. A connection that the harness closed becomes a
`SessionBroken`, where the SDK would return an empty reply.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from google.antigravity.types import AntigravityCancelledError, StepSource
from loguru import logger

from agy_actors._sdk.adapter import Harness
from agy_actors._sdk.conversation_lock import Holder
from agy_actors._sdk.hook_calls import HookCalls, HookFailed, PromptDenied
from agy_actors._sdk.make_agent import make_agent
from agy_actors._sdk.mend_conversation import mend_conversation
from agy_actors._sdk.private_folders import make_private_folders
from agy_actors._sdk.runner_patches import no_variables
from agy_actors._sdk.session_errors import (
    HELD,
    ConversationHeld,
    SessionBroken,
    reason_of,
    until_let_go,
)
from agy_actors._sdk.session_facts import SessionFacts
from agy_actors._sdk.start_errors import ProcessLost, explain_start
from agy_actors._sdk.start_time import StartTime
from agy_actors._sdk.step_watch import expect_turn, interrupt, watch_steps
from agy_actors._sdk.tools import no_observer
from agy_actors._sdk.turn_beginning import TurnBeginning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.antigravity import Agent, AgentConfig
    from google.antigravity.types import Step

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._sdk.conversation_lock import ConversationLock
    from agy_actors._sdk.packed_conversation import PackedConversation
    from agy_actors._sdk.process.lease import OnLine
    from agy_actors._sdk.runner_patches import Around
    from agy_actors._sdk.save_watch import SaveWatch
    from agy_actors._sdk.tools import AroundTool

__all__ = ["ConversationHeld", "HookFailed", "PromptDenied", "Session", "SessionBroken"]

_PACK_TIME = 2.0
"""Seconds for the harness to close the database. Up to 3 ms (google-antigravity 0.1.22)."""

_LAST_WORDS = 1.0
"""Seconds for the SDK to close what belongs to a killed process. It takes milliseconds."""


class Session(SessionFacts):
    """One SDK agent, opened, used and closed on one loop.

    Args:
        config: the SDK's configuration.
        start_timeout: seconds for it to start, counted from when it has a process.
        stop_grace: seconds for a process of its own to end by itself.
        process_pool: the `ProcessPool` with processes to share; `None` for a process of its own.
        key: the fingerprint of its API key. Only conversations with the same key share a process.
        on_line: called with each line of the harness's standard error, and whether the line cannot
            be about another conversation of the process, on any thread.
        has_turn: returns whether a line of the harness may be about this conversation, on any
            thread.
        on_death: called when the harness is gone, on any thread.
        on_step: called for each new step, on the session's loop.
        lock: held while the session is open; `None` if the conversation needs no owner.
        packed: compresses the conversation's files while the session is not open; needs `lock`;
            `None` leaves them as they are.
        saving: checks whether turns are saved; `None` for no checks.
        around: returns a context manager in which tools and hooks run. It sets context variables.
        around_tool: likewise, for the call of one tool: see `guard_tools`.
        on_hook_failure: called when a hook or a handler has failed, on the session's loop.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        start_timeout: float,
        stop_grace: float,
        process_pool: AsyncioActorRef | None = None,
        key: str = "",
        on_line: OnLine,
        has_turn: Callable[[], bool],
        on_death: Callable[[], None],
        on_step: Callable[[], None],
        lock: ConversationLock | None = None,
        packed: PackedConversation | None = None,
        saving: SaveWatch | None = None,
        around: Around = no_variables,
        around_tool: AroundTool = no_observer,
        on_hook_failure: Callable[[HookFailed], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._lock = lock
        self._packed = packed
        self._saving = saving
        self._on_line = on_line
        self._stop_grace = stop_grace
        self._start = StartTime(start_timeout)
        self._hooks = HookCalls(on_hook_failure, lambda fail: interrupt(self._agent, fail), around)
        self._harness = Harness(
            process_pool=process_pool,
            conversation=config.conversation_id or "",
            key=key,
            grace=stop_grace,
            on_line=self._note_line,
            has_turn=has_turn,
            on_death=on_death,
            on_wait=self._start.hold,
            around=around,
            around_tool=around_tool,
            hooks=self._hooks,
        )
        self._agent = self._make_agent()
        self._on_step = on_step
        self._opened = False
        self._steps: AsyncIterator[Step] | None = None
        self._broken: SessionBroken | None = None
        self._beginning = TurnBeginning()
        self._answered = False  # Whether the model has replied in this turn.

    @property
    def busy(self) -> bool:
        """Whether the harness runs a turn, started by a prompt or by a trigger."""
        return self._opened and self._broken is None and not self._agent.conversation.is_idle

    @property
    def broken_reason(self) -> str:
        """Why it cannot be used any more; "" if it can."""
        return str(self._broken or "")

    @property
    def hooks_at_work(self) -> tuple[str, ...]:
        """The hooks, policies and handlers that are running, by kind and name."""
        return self._hooks.at_work

    async def open(self) -> None:
        """Open the agent.

        Raises:
            ConversationInUse: another agent or program has the conversation open.
            TimeoutError: it did not start in time.
            HookFailed: a hook at the session's start failed.
            Exception: another error of the SDK or the system. Nothing is left running.
        """
        # Before the harness does it: all users can read the folders that the harness creates.
        make_private_folders(self._config.save_dir, self._config.app_data_dir)
        if self._saving is not None:
            self._saving.open()
        if self._lock is not None:
            self._lock.take()
        try:
            async with self._start.limit():
                if self._lock is not None:
                    await self._lock.wait_for_harness(HELD)
                    if self._packed is not None:
                        self._packed.unpack()
                    await mend_conversation(self._config)
                await self._start.on_other_processes()(until_let_go(), self._open)
                self._opened = True
                await self._hooks.wait_for_start(self._agent)
        except BaseException as error:
            slow = " and ".join(self.hooks_at_work) or "the start"
            if self._opened:
                await self.close(at_once=not isinstance(error, HookFailed))
            else:
                self.closed = True
                # Without a wait: the caller waits for its error, and the files may stay unpacked.
                await self._let_go(pack_within=0.0 if isinstance(error, Exception) else None)
            if isinstance(error, ConversationHeld) and self._lock is not None:
                raise self._lock.in_use(Holder.here(error.pid)) from error
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"{slow} did not end in {self._start.seconds:g} s") from None
            raise
        self._harness.note_opened()
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
                lost = self._harness.lost_process(error)
                failure = explain_start(error, self._harness.refusal, lost)
                if failure is None:
                    raise
                if isinstance(failure, ProcessLost):
                    self._harness.dispose()
                    self._agent = self._make_agent()
                raise failure from error
            # Usually its last session has just been cut off, and the harness notices soon.
            pid = self._harness.pid
            self._harness.dispose()
            self._agent = self._make_agent()
            raise ConversationHeld(
                f"the conversation {self._config.conversation_id} is open in another agent", pid
            ) from error

    def allow_tools(self) -> None:
        """Allow tool calls again, which the cancellation of a turn forbids until the next turn."""
        self._harness.tools.begin_turn()

    async def send(self, prompt: Any) -> None:
        """Start a turn.

        Raises:
            SessionBroken: the prompt was not sent, or the connection was closed.
        """
        await self._begin_turn()
        if not self._beginning.is_clear:
            self._beginning.expect(prompt)
        try:
            await self._agent.conversation.send(prompt)
        except (Exception, AntigravityCancelledError) as error:
            raise self._break(reason_of(error)) from error

    async def notify(self, texts: list[str]) -> None:
        """Start a turn with the texts of triggers.

        Raises:
            SessionBroken: the texts were not sent, or the connection was closed.
        """
        await self._begin_turn()
        self._beginning.expect(None, StepSource.SYSTEM)
        expect_turn(self._agent)
        try:
            # As one text: from several, the harness may start one turn with some of them, and
            # another turn with the rest.
            text = "\n\n".join(texts)
            await self._agent.conversation.connection.send_trigger_notification(text)
        except Exception as error:
            raise self._break(reason_of(error)) from error

    async def _begin_turn(self) -> None:
        self._check()
        self._hooks.begin_turn()
        self.allow_tools()
        self._answered = False
        if self._saving is not None:
            await self._saving.begin_turn()

    async def next_step(self) -> Step | None:
        """Return the turn's next step, or `None` at every kind of end.

        Raises:
            HookFailed: a hook failed. The turn has ended, or must be ended.
            PromptDenied: a hook denied the prompt, and the turn has ended.
            SessionBroken: the SDK raised, or the connection was closed before the end.
        """
        self._check()
        conversation = self._agent.conversation
        # Not the conversation's own iterator, which keeps every step. Each step holds its whole
        # text so far: for a long reply, half its length times the number of steps.
        steps = self._steps or conversation.connection.receive_steps()
        self._steps = None
        try:
            step = await anext(steps)
        except StopAsyncIteration:
            if conversation.is_idle:
                if self._answered and self._saving is not None:
                    self._saving.end_turn()
                self._answered = False
                await self._harness.tools.finish()
                self._hooks.end_turn()
                return None
            # The SDK ends the iteration as if the turn had ended.
            raise self._break("the harness closed the connection") from None
        except AntigravityCancelledError:
            await self._harness.tools.finish()
            return None
        except HookFailed:
            self._hooks.begin_turn()  # Clear the failure, which is reported now.
            raise
        except Exception as error:
            if self._hooks.denied and conversation.is_idle:
                self._hooks.end_turn(cancelled=self._beginning.cut)
                return None
            raise self._break(reason_of(error)) from error
        self._steps = steps
        self._answered = self._answered or step.source == StepSource.MODEL
        self._beginning.see(step)
        return step

    @property
    def begun(self) -> bool:
        """Whether the steps belong to the turn of the last prompt, and not to an earlier one."""
        return self._beginning.begun

    async def cancel(self) -> None:
        """Ask the harness to end the turn.

        Raises:
            SessionBroken: the connection was closed.
        """
        self._beginning.cut = True
        self._harness.tools.end_turn()
        self._hooks.cancel()
        try:
            await self._agent.conversation.cancel()
        except Exception as error:
            raise self._break(reason_of(error)) from error

    async def halt(self, grace: float) -> bool:
        """Cancel the turn, and return whether it ended and the conversation can continue."""
        try:
            async with asyncio.timeout(grace):
                await self.cancel()
                while True:
                    with contextlib.suppress(HookFailed, PromptDenied):
                        if await self.next_step() is None:
                            return True
        except (SessionBroken, TimeoutError):
            return False

    def _note_line(self, line: str, alone: bool) -> None:
        if self._saving is not None:
            self._saving.note_line(line)
        self._on_line(line, alone)

    def _check(self) -> None:
        # The SDK would return an empty reply, and then hang.
        if self._broken is not None:
            raise SessionBroken(str(self._broken))

    def _break(self, reason: str) -> SessionBroken:
        self._broken = SessionBroken(reason)
        self._harness.tools.end_turn()
        return self._broken

    def kill(self) -> None:
        """Cut the session off from its harness at once. Thread-safe."""
        self._start.give_up()
        self._harness.kill()

    def reap(self) -> None:
        """Cut off a session whose loop hangs, for good. Thread-safe."""
        self._start.give_up()
        self._harness.reap()
        if self._lock is not None:
            self._lock.renounce()

    async def _let_go(self, pack_within: float | None) -> None:
        """Release the process, compress the files unless `None` is given, release the lock."""
        try:
            with contextlib.suppress(ProcessLookupError):
                self._harness.dispose()
            packed, lock = self._packed, self._lock
            # Another session has the conversation if this one's lock was renounced.
            if pack_within is not None and packed is not None and lock is not None and lock.held:
                await packed.pack(pack_within)
        finally:
            if self._lock is not None:
                self._lock.release()

    async def close(self, *, at_once: bool = False) -> None:
        """Close the agent, and release its process. Never raises.

        Args:
            at_once: do not wait for the process to end by itself.
        """
        self.closed = True
        if not self._opened:
            return
        self._opened = False
        if self._saving is not None:
            await self._saving.close(at_once=at_once)
        if at_once:
            self._harness.kill()
        try:
            self._harness.tools.end_turn()
            await self._harness.tools.finish()
            # The SDK waits forever for a hook at the session's end.
            async with asyncio.timeout(_LAST_WORDS if at_once else self._stop_grace):
                await self._agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]
        except AntigravityCancelledError:
            pass
        except asyncio.CancelledError:
            at_once = True
            raise
        except Exception as error:  # noqa: BLE001 (the SDK raises for a killed process)
            if not at_once:  # Without its text, which quotes the harness's output, keys included.
                logger.debug("The SDK raised {} while an agent was closed", type(error).__name__)
        finally:
            await self._let_go(pack_within=None if at_once else _PACK_TIME)
