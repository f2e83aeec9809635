"""One attempt of a turn on an open session: from its prompt to its reply, or to its error.

Guarantees:

*   An error belongs to the turn that it ended: each attempt has its own `Turn`, and no step is read
    outside an attempt.
*   A failed attempt is halted before another turn starts, even if its asker gave up. If it
    cannot be halted, the incarnation crashes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agy_actors._actors.errors import InvalidConfig
from agy_actors._agents import turn_errors
from agy_actors._agents.agent_messages import ChatReply, Send
from agy_actors._agents.defaults import CANCEL_GRACE
from agy_actors._agents.model_waits import ModelWatch
from agy_actors._agents.turn_messages import FollowTurn, TriggerTurn
from agy_actors._sdk.error_text import QUOTA_STATUS, diagnose
from agy_actors._sdk.errors import RENEWING, InvalidOutput, TurnDenied, TurnError
from agy_actors._sdk.hook_calls import HookFailed, PromptDenied
from agy_actors._sdk.output_schema import OutputSchema
from agy_actors._sdk.session_errors import SessionBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import types as sdk
    from pydantic import BaseModel

    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.agent_messages import Chat
    from agy_actors._agents.record import PendingTurn
    from agy_actors._agents.running_turn import RunningTurn
    from agy_actors._agents.session_keeper import SessionKeeper
    from agy_actors._agents.turn import Turn
    from agy_actors._agents.turn_crashes import TurnCrashes
    from agy_actors._agents.turn_slots import TurnSlot
    from agy_actors._sdk.error_text import ModelFailure
    from agy_actors._sdk.session import Session

__all__ = ["TurnAttempts"]

_LATE_USAGE = 0.1
"""Seconds after a step in which the harness reports its tokens. It takes milliseconds
(google-antigravity 0.1.22). Arbitrary."""


class TurnAttempts:
    """Runs attempts of turns, one at a time. For the agent's loop.

    Args:
        agent: the incarnation's state.
        sessions: has the session that attempts run on.
        slot: the agent's part in the limit of running turns.
        crash: ends the incarnation because of an error, and returns whether it did.
    """

    def __init__(
        self,
        agent: AgentIncarnation,
        sessions: SessionKeeper,
        slot: TurnSlot,
        crash: Callable[[Exception], bool],
    ) -> None:
        self._agent = agent
        self._sessions = sessions
        self._slot = slot
        self._crash = crash
        self._who = str(agent)
        self._model_watch = ModelWatch(agent)
        self._late_count: asyncio.TimerHandle | None = None
        self.crashed_turn: TurnCrashes | None = None
        """Which turn crashed this incarnation, if one did."""

    # From the prompt to the reply.

    async def run(self, running: RunningTurn, message: Any) -> ChatReply:
        """Send a prompt on the open session and wait for the complete reply.

        Raises:
            TurnError: why there is no reply. The session is ready for the next turn, or the
                incarnation has crashed.
            InvalidConfig: the agent cannot give the kind of reply that was asked for.
        """
        session, turn, pending = self._sessions.session, running.turn, running.pending
        assert session is not None
        if pending.cancelled:
            raise turn_errors.cancelled(self._who, turn)
        _check_schema(self._agent.spec.output, running.chat, self._who)
        left = pending.deadline - self._agent.clock()
        if left <= 0:  # The time passed while the agent was restarted.
            raise self.timeout_error(turn, pending.seconds)
        before = session.usage
        pending.conversation_id = session.conversation_id
        loop = asyncio.get_running_loop()
        deadline = loop.time() + left
        try:
            async with asyncio.timeout(left):
                with self._model_watch.watch(turn, lambda: running.may_be_silent):
                    await self._start(session, running, message)
                    await self._read_steps(session, running)
        except TimeoutError:
            stalled = loop.time() < deadline
            waited_for = (*turn.tools_at_work, *session.hooks_at_work)
            waited_for += await self._halt_or_crash(running, session)
            seconds = running.stall if stalled else pending.seconds
            raise self.timeout_error(turn, seconds, waited_for, stalled=stalled) from None
        except SessionBroken as broken:
            # Not as the cause: its text is the service's, and may contain keys.
            error = self._broken_error(running, self._agent.redact(str(broken)))
            self._crash_in_turn(running, error)
            raise error from None
        except (asyncio.CancelledError, TurnError):
            # The asker may have given up. The next turn must find a free agent.
            await self._halt_or_crash(running, session)
            raise
        finally:
            if self._late_count is not None:
                self._late_count.cancel()
            if self._sessions.session is session:
                self._count_usage(session, before, pending)
        if running.cancelled:
            raise turn_errors.cancelled(self._who, turn)
        return self._reply(running, session)

    async def _start(self, session: Session, running: RunningTurn, message: Any) -> None:
        session.allow_tools()
        if isinstance(message, FollowTurn):
            # The harness has begun it. If a budget is used up, it is halted.
            self._agent.spec.budgets.check(self._who)
            return
        await self._finish_unasked_turn(session)
        if isinstance(message, TriggerTurn):
            await session.notify(message.texts)
            return
        self._agent.record.note_prompt()
        asked = message if isinstance(message, Send) else running.chat
        assert asked is not None
        await session.send(asked.prompt)

    async def _finish_unasked_turn(self, session: Session) -> None:
        """Read a turn that the harness began by itself to its end."""
        while session.busy:
            try:
                step = await session.next_step()
            except PromptDenied:
                continue
            except HookFailed:
                if not await session.halt(CANCEL_GRACE):
                    raise SessionBroken("a turn that the harness began did not end") from None
                continue
            except SessionBroken as broken:
                # That turn broke the session, and it has no asker.
                words = self._agent.redact(str(broken))
                self._agent.log.debug("A turn that the harness began broke the session: {}", words)
                raise SessionBroken("a turn that the harness began broke it") from None
            if step is not None:
                self._agent.record.note_step(step)

    async def _read_steps(self, session: Session, running: RunningTurn) -> None:
        early: list[sdk.Step] = []
        while True:
            try:
                async with asyncio.timeout_at(running.stall_deadline()) as running.stall_timer:
                    step = await session.next_step()
            except PromptDenied as denied:
                words = self._agent.redact(str(denied))
                raise TurnDenied(f"a hook denied the prompt of {self._who}: {words}") from None
            except HookFailed as failed:
                problem = self._agent.redact(failed.problem)
                raise turn_errors.hook_failed(self._who, running.turn, failed, problem) from None
            finally:
                running.stall_timer = None
            self._slot.has_step()
            if step is None:
                break
            record = self._agent.record
            record.note_step(step)
            if record.budgets:  # They are to be up to date while the turn runs.
                self._count_for_budgets(session)
            if running.pending.observed is not None:
                running.pending.observed.see_step(step)
            if session.begun:
                early.clear()
                self._take_step(step, running)
            else:
                early.append(step)
        # The turn's beginning was not recognised: then all steps count.
        for step in early:
            self._take_step(step, running)

    def _take_step(self, step: sdk.Step, running: RunningTurn) -> None:
        spec, turn, buffer = self._agent.spec, running.turn, running.buffer
        before = turn.failure
        for event in turn.observe(step):
            spec.pace.accepted(spec.pace_key)
            if buffer is not None:
                buffer.push(event)
        self._model_watch.note_step(step, turn)
        self._slot.note_tools(at_work=bool(turn.tools_at_work))
        if turn.failure is not before and not turn.compaction_failed:
            self._note_refusal(turn.failure)
        if turn.failure is not None or turn.empty_steps:
            error = turn_errors.error_of_steps(spec, turn)
            if error is not None:
                raise error

    def _reply(self, running: RunningTurn, session: Session) -> ChatReply:
        spec, turn, chat = self._agent.spec, running.turn, running.chat
        if turn.failure is not None:  # No output came after it (docs/sdk_facts.rst, error-steps).
            raise turn_errors.model_failed(spec, turn, turn.failure)
        return ChatReply(
            text=turn.text,
            thoughts=turn.thoughts,
            tool_calls=turn.tool_calls,
            usage=self._agent.record.last_turn_usage,
            structured_output=turn.structured_output,
            parsed=_parse(turn, spec.output, chat, self._who),
            stop_reason=session.stop_reason,
            attempts=running.pending.attempt,
            conversation_id=session.conversation_id,
            metadata=None if chat is None else chat.metadata,
        )

    def _count_for_budgets(self, session: Session) -> None:
        """Count the tokens so far, now and a little later."""
        if self._late_count is not None:
            self._late_count.cancel()
        if self._sessions.session is session:
            self._agent.record.count_usage(session.usage)
            loop = asyncio.get_running_loop()
            self._late_count = loop.call_later(_LATE_USAGE, self._count_late, session)

    def _count_late(self, session: Session) -> None:
        if self._sessions.session is session:
            self._agent.record.count_usage(session.usage)

    def _count_usage(
        self, session: Session, before: sdk.UsageMetadata, pending: PendingTurn
    ) -> None:
        usage = session.usage
        self._agent.record.count_usage(usage)
        spent = usage - before
        if spent.total_token_count:
            pending.usage = spent if pending.usage is None else pending.usage + spent
        self._agent.record.last_turn_usage = pending.usage

    # The end of a failed attempt.

    async def _halt_or_crash(self, running: RunningTurn, session: Session) -> tuple[str, ...]:
        """Make the session ready for the next turn, or crash.

        If the turn's asker gives up meanwhile, this continues; only the incarnation's end stops it.

        Returns:
            The harness's reason why the attempt does not end, if it states one.
        """
        running.cancel_adopted()
        halting = asyncio.get_running_loop().create_task(session.halt(CANCEL_GRACE))
        abandoned = False
        while not halting.done():
            try:
                await asyncio.wait([halting])
            except asyncio.CancelledError:
                if self._agent.is_ending:
                    halting.cancel()
                    raise
                abandoned = True
        culprits: tuple[str, ...] = ()
        if not halting.result():
            failure = diagnose(self._agent.redact(session.broken_reason))
            if failure is not None and failure.culprit is not None:
                culprits = (failure.culprit,)
            self._crash_in_turn(running, turn_errors.stuck_turn(self._who, failure))
        if abandoned:
            raise asyncio.CancelledError
        return culprits

    def _crash_in_turn(self, running: RunningTurn, error: Exception) -> None:
        """End this incarnation because of the running turn, whose crashes are counted."""
        if self._crash(error) and not isinstance(error, RENEWING):
            self.count_crash(running.pending)

    def count_crash(self, pending: PendingTurn) -> None:
        """Note that a turn crashed the incarnation. Callable from any thread."""
        pending.crashes.count += 1
        self.crashed_turn = pending.crashes

    def timeout_error(
        self,
        turn: Turn,
        seconds: float,
        waited_for: tuple[str, ...] = (),
        *,
        stalled: bool = False,
    ) -> TurnError:
        """Make the error of a turn that did not end in time; see `turn_errors.timed_out`."""
        failure = turn_errors.failure_behind_timeout(turn)
        if failure is None:
            return turn_errors.timed_out(self._who, turn, seconds, waited_for, stalled=stalled)
        if not turn.compaction_failed:
            self._note_refusal(failure)
        return turn_errors.model_failed(self._agent.spec, turn, failure)

    def _broken_error(self, running: RunningTurn, reason: str) -> TurnError:
        turn = running.turn
        if running.cancelled:
            return turn_errors.cancelled(self._who, turn)
        if not turn.compaction_failed:  # Otherwise it would repeat an old text of the service.
            self._note_refusal(diagnose(reason))
        failure = turn_errors.failure_behind_break(turn, reason)
        if failure is not None:
            return turn_errors.model_failed(self._agent.spec, turn, failure)
        return turn_errors.interrupted(self._who, turn, reason)

    # Failed requests to the model.

    def note_harness_retries(
        self, turn: Turn, text: str, failure: ModelFailure, *, alone: bool
    ) -> None:
        """Note that the harness repeats a request to the model, perhaps one of this turn."""
        if alone:
            self._model_watch.note_line(turn, text, failure)
        self._note_refusal(failure)

    def _note_refusal(self, failure: ModelFailure | None) -> None:
        """Restrict the agent's API key if the service refused the request because of its quota."""
        if failure is not None and failure.status == QUOTA_STATUS:
            spec = self._agent.spec
            spec.pace.refused(spec.pace_key, failure.retry_after)


def _check_schema(output: OutputSchema | None, chat: Chat[Any] | None, who: str) -> None:
    """Refuse a `Chat` with a `response_schema` if the model gets no schema.

    Raises:
        InvalidConfig: the agent's configuration has no `response_schema`.
    """
    if chat is not None and chat.response_schema is not None and output is None:
        name = chat.response_schema.__name__
        raise InvalidConfig(
            f"{who} was asked for a {name}, and its configuration has no response_schema: create"
            f" it with response_schema={name}"
        )


def _parse(
    turn: Turn, output: OutputSchema | None, chat: Chat[Any] | None, who: str
) -> BaseModel | None:
    """Return a turn's data as an instance of the pydantic model, if the schema is one.

    Args:
        turn: the turn, which has ended.
        output: the schema of the agent's configuration.
        chat: the message that was asked.
        who: the agent, as the error names it.

    Raises:
        InvalidOutput: the data do not fit the schema.
    """
    if output is None:
        return None
    wanted = None if chat is None else chat.response_schema
    try:
        parsed = output.read(turn.structured_output)
        if wanted is not None and not isinstance(parsed, wanted):
            parsed = OutputSchema(output.schema, wanted).read(turn.structured_output)
    except ValueError as error:
        raise InvalidOutput(
            f"the answer of {who} does not fit its response_schema: {error}",
            text=turn.text,
            tool_calls=turn.tool_calls,
        ) from None
    return parsed
