"""One run of a turn on a session: from its prompt to its answer, or to the error that ends it.

Guarantees:

*   An error belongs to the turn that it ended: each has its own `Turn`, and no step is read
    outside one.
*   A turn that did not end cleanly is halted, whatever happens to its asker meanwhile; one
    that cannot be halted takes its incarnation with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from agy_actors._agent._answers import AnsweringActor, Outcome
from agy_actors._agent._diagnosis import QUOTA_STATUS, diagnose, model_error
from agy_actors._agent._errors import (
    CompactionFailed,
    HookError,
    InvalidOutput,
    TurnCancelled,
    TurnDenied,
    TurnError,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
)
from agy_actors._agent._replies import ChatReply
from agy_actors._agent._session import HookFailed, PromptDenied, SessionBroken
from agy_actors._agent._settings import CANCEL_GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.antigravity import types as sdk

    from agy_actors._agent._answers import Reporter
    from agy_actors._agent._diagnosis import ModelFailure
    from agy_actors._agent._life import AgentSpec, Life, Trial
    from agy_actors._agent._session import Session
    from agy_actors._agent._stream import Tape
    from agy_actors._agent._turn import Turn
    from agy_actors._kernel import ReplyFuture

__all__ = ["TurnRunningActor"]


class TurnRunningActor(AnsweringActor):
    """Runs a turn on the session that its subclass opens and replaces."""

    def __init__(self, spec: AgentSpec, life: Life, reporter: Reporter) -> None:
        super().__init__(spec, life, reporter)
        self._current: Turn | None = None
        self._cancelled = False
        self._adopted: dict[ReplyFuture[Any] | asyncio.Future[Any], None] = {}
        self._stall = 0.0
        self._stall_timer: asyncio.Timeout | None = None
        self._people_asked = 0

    def _crash_in_turn(self, error: Exception) -> None:
        """End this incarnation because of the running turn, whose crashes are counted."""
        if self._broken or self._closing or self._ended:
            return  # It crashed before, or ends: not because of this turn.
        self._crash(error)
        if self.outcome is Outcome.CRASHED and self.life.trial is not None:
            self._count_crash(self.life.trial)

    def _count_crash(self, trial: Trial) -> None:
        trial.crashes.count += 1
        self.crashed_turn = trial.crashes

    # For what runs inside a turn, on its loop: tools, hooks and handlers.

    def adopt(self, future: ReplyFuture[Any] | asyncio.Future[Any]) -> None:
        """Have the future cancelled when the running turn ends, if it is not done then."""
        self._adopted[future] = None
        if self.turn_envelope is None or self._cancelled:
            self._abandon_adopted()

    @contextlib.contextmanager
    def person_asked(self) -> Iterator[None]:
        """Count no silence as a stall meanwhile: the turn waits for somebody."""
        self._people_asked += 1
        self._renew_stall_timer()
        try:
            yield
        finally:
            self._people_asked -= 1
            self._renew_stall_timer()

    def _renew_stall_timer(self) -> None:
        timer, turn = self._stall_timer, self._current
        if timer is not None and turn is not None:
            with contextlib.suppress(RuntimeError):  # It is over just now.
                timer.reschedule(self._stall_deadline(turn))

    def _abandon_adopted(self) -> None:
        adopted, self._adopted = self._adopted, {}
        for future in adopted:
            future.cancel()

    def _note_hook_failure(self, failure: HookFailed) -> None:
        self._log.warning("The {} failed: {}", failure.hook, failure.kind)
        self._log.debug("{}", self.redact(str(failure)))

    # From the prompt to the answer.

    async def _run_turn(
        self, turn: Turn, trial: Trial, prompt: Any, stall: float, tape: Tape | None
    ) -> ChatReply:
        session = self._session
        assert session is not None
        left = trial.deadline - self._host.monotonic()
        if trial.cancelled:
            raise self._cancelled_error(turn)
        if left <= 0:  # It went by while the agent was restarted.
            raise self._timeout_error(turn, trial.seconds, (), stalled=False)
        before = session.usage
        deadline = self._loop.time() + left
        try:
            async with asyncio.timeout(left):
                await self._start_turn(session, prompt)
                await self._read_steps(session, turn, stall, tape)
        except TimeoutError:
            stalled = self._loop.time() < deadline
            waited_for = (*turn.tools_at_work, *session.hooks_at_work)
            waited_for += await self._halt_or_crash(session)
            raise self._timeout_error(
                turn, stall if stalled else trial.seconds, waited_for, stalled=stalled
            ) from None
        except SessionBroken as broken:
            # Not as the cause: it holds what the service said, keys included.
            broken_error = (
                self._cancelled_error(turn)
                if self._cancelled
                else self._broken_error(turn, self.redact(str(broken)))
            )
            self._crash_in_turn(broken_error)
            raise broken_error from None
        except asyncio.CancelledError:
            # The asker went away: the next turn must find a free agent.
            await self._halt_or_crash(session)
            raise
        except TurnError:
            await self._halt_or_crash(session)
            raise
        finally:
            if self._session is session:
                self._count_usage(session, before)
        if self._cancelled:
            raise self._cancelled_error(turn)
        return self._reply(turn, trial, session)

    async def _start_turn(self, session: Session, prompt: Any) -> None:
        if prompt is None:
            return  # A trigger has begun it.
        while session.busy:  # With a trigger's turn; the harness has one at a time.
            try:
                step = await session.next_step()
            except PromptDenied:
                continue
            except HookFailed:
                if not await session.halt(CANCEL_GRACE):
                    raise SessionBroken("a turn that a trigger began could not be ended") from None
                continue
            except SessionBroken as broken:
                # What it was of is another turn's, and that has no asker.
                self._log.debug("A turn of a trigger broke: {}", self.redact(str(broken)))
                raise SessionBroken("a turn that a trigger began broke it") from None
            if step is not None:
                self.life.record(step)
        self.life.note_prompt()
        await session.send(prompt)

    async def _read_steps(
        self, session: Session, turn: Turn, stall: float, tape: Tape | None
    ) -> None:
        self._stall = stall
        early: list[sdk.Step] = []
        while True:
            try:
                async with asyncio.timeout_at(self._stall_deadline(turn)) as self._stall_timer:
                    step = await session.next_step()
            except PromptDenied as denied:
                words = self.redact(str(denied))
                raise TurnDenied(f"a hook denied the prompt of {self}: {words}") from None
            except HookFailed as failed:
                raise self._hook_error(turn, failed) from None
            finally:
                self._stall_timer = None
            if step is None:
                break
            self.life.record(step)
            if session.begun:
                early.clear()
                self._take_step(step, turn, tape)
            else:
                early.append(step)
        # It never began as turns do: then there is no telling, and nothing is to be lost.
        for step in early:
            self._take_step(step, turn, tape)

    def _take_step(self, step: sdk.Step, turn: Turn, tape: Tape | None) -> None:
        before = turn.failure
        for event in turn.observe(step):
            self.spec.pace.accepted(self.spec.pace_key)
            if tape is not None:
                tape.push(event)
        if turn.failure is not before and not turn.compaction_failed:
            self._note_refusal(turn.failure)
        self._check_valves(turn)

    def _stall_deadline(self, turn: Turn) -> float | None:
        if turn.tools_at_work or self._people_asked:
            return None
        return self._loop.time() + self._stall

    def _check_valves(self, turn: Turn) -> None:
        spec = self.spec
        failure = turn.failure
        if failure is not None and 0 < spec.max_model_errors <= turn.model_errors:
            words = f"{turn.model_errors} errors in a row; {failure.message}"
            raise self._model_error(turn, failure._replace(message=words))
        if 0 < spec.max_empty_steps <= turn.empty_steps:
            raise TurnStalled(
                f"a turn of {self} brought {turn.empty_steps} steps without text or tool call",
                text=turn.text,
                tool_calls=turn.tool_calls,
            )

    def _reply(self, turn: Turn, trial: Trial, session: Session) -> ChatReply:
        if turn.failure is not None:  # No output came after it: it is what ended the turn (F9).
            raise self._model_error(turn, turn.failure)
        parsed = None
        if self.spec.output is not None:
            try:
                parsed = self.spec.output.read(turn.structured_output)
            except ValueError as error:
                raise InvalidOutput(
                    f"the answer of {self} does not fit its response_schema: {error}",
                    text=turn.text,
                    tool_calls=turn.tool_calls,
                ) from None
        return ChatReply(
            text=turn.text,
            thoughts=turn.thoughts,
            tool_calls=turn.tool_calls,
            usage=self.life.last_turn_usage,
            structured_output=turn.structured_output,
            parsed=parsed,
            stop_reason=session.stop_reason,
            attempts=trial.attempt,
            conversation_id=session.conversation_id,
        )

    def _count_usage(self, session: Session, before: sdk.UsageMetadata) -> None:
        usage = session.usage
        self.life.count_usage(usage)
        spent = usage - before
        self.life.last_turn_usage = spent if spent.total_token_count else None

    async def _halt_or_crash(self, session: Session) -> tuple[str, ...]:
        """Leave the session ready for the next turn, or replace it.

        Who abandons the turn meanwhile must not keep that from happening: only the
        incarnation's own end does.

        Returns:
            What kept the turn from beginning, by the harness's own words, if it says so.
        """
        self._abandon_adopted()
        halting = self._loop.create_task(session.halt(CANCEL_GRACE))
        abandoned = False
        while not halting.done():
            try:
                await asyncio.wait([halting])
            except asyncio.CancelledError:
                if self._closing or self._cut_off:
                    halting.cancel()
                    raise
                abandoned = True
        culprits: tuple[str, ...] = ()
        if not halting.result():
            failure = diagnose(self.redact(session.broken_reason))
            error: TurnError = TurnInterrupted(f"a turn of {self} could not be ended")
            if failure is not None and failure.culprit is not None:
                culprits = (failure.culprit,)
                error = model_error(failure, str(self))
            self._crash_in_turn(error)
        if abandoned:
            raise asyncio.CancelledError
        return culprits

    # Errors.

    def _note_refusal(self, failure: ModelFailure | None) -> None:
        """Tell all agents of this one's key if the service refused it for its quota."""
        if failure is not None and failure.status == QUOTA_STATUS:
            self.spec.pace.refused(self.spec.pace_key, failure.retry_after)

    def _model_error(self, turn: Turn, failure: ModelFailure) -> TurnError:
        if turn.compaction_failed:
            return CompactionFailed(
                f"the conversation of {self} cannot go on: in an earlier turn, the request to the"
                f" model to summarise it failed ({failure.message}), and the harness does not"
                " repeat it; Delete the agent and create it again, or give it a new"
                " conversation_id",
                text=turn.text,
                tool_calls=turn.tool_calls,
            )
        return model_error(
            failure,
            str(self),
            service=self.spec.service,
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    def _hook_error(self, turn: Turn, failed: HookFailed) -> TurnError:
        return HookError(
            f"{failed.hook} of {self} {self.redact(failed.problem)}; the turn was ended",
            hook=failed.hook,
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    def _timeout_error(
        self, turn: Turn, seconds: float, waited_for: tuple[str, ...], *, stalled: bool
    ) -> TurnError:
        failure = turn.failure or turn.suspicions.certain() or turn.suspicions.refusal()
        if failure is not None:
            if not turn.compaction_failed:
                self._note_refusal(failure)
            return self._model_error(turn, failure)
        kind = TurnStalled if stalled else TurnTimeout
        what = "was silent for" if stalled else "did not end within"
        waiting = f" while it waited for {' and '.join(waited_for)}"
        return kind(
            f"a turn of {self} {what} {seconds:g} seconds and was cancelled"
            f"{waiting if waited_for else ''}",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )

    def _cancelled_error(self, turn: Turn) -> TurnError:
        return TurnCancelled(
            f"the turn of {self} was cancelled", text=turn.text, tool_calls=turn.tool_calls
        )

    def _broken_error(self, turn: Turn, reason: str) -> TurnError:
        said = diagnose(reason)
        if not turn.compaction_failed:  # Else it repeats what the service said long ago.
            self._note_refusal(said)
        failure = said or turn.failure or turn.suspicions.certain()
        if failure is not None:
            return self._model_error(turn, failure)
        return TurnInterrupted(
            f"a turn of {self} was cut off: its process ended or its connection broke"
            f" ({' '.join(reason.split())})",
            text=turn.text,
            tool_calls=turn.tool_calls,
        )
