"""The environment for tests of `TurnRunner`: a scripted session and virtual time, without an
actor."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from google.antigravity import AgentConfig
from google.antigravity import types as sdk

from agy_actors import RetryPolicy
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import fail, resolve
from agy_actors._agents.agent_incarnation import AgentIncarnation
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.rate_limit import PaceBoard
from agy_actors._agents.record import AgentRecord, AgentSpec
from agy_actors._agents.session_keeper import SessionKeeper
from agy_actors._agents.trigger_turns import TriggerTurns
from agy_actors._agents.turn_runner import TurnRunner
from agy_actors._agents.turn_slots import TurnSlot, TurnSlots
from agy_actors._supervision.event_hub import EventHub

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors import ChatReply
    from agy_actors._sdk.session import Session

__all__ = ["ScriptedSession", "World", "run_in_virtual_time", "said"]


class _VirtualSelector(selectors.SelectSelector):
    """Jumps to the time until which the loop would sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "the loop would sleep for ever"
        self.now += timeout
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, selector: _VirtualSelector) -> None:
        super().__init__(selector)
        self._virtual = selector

    def time(self) -> float:
        return self._virtual.now


def run_in_virtual_time(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a loop whose clock jumps over all waits."""
    with asyncio.Runner(loop_factory=lambda: _VirtualLoop(_VirtualSelector())) as runner:
        runner.run(main())


def said(text: str, index: int = 1, **fields: Any) -> sdk.Step:
    """Make the step of an answer."""
    settings: dict[str, Any] = {
        "step_index": index,
        "type": sdk.StepType.TEXT_RESPONSE,
        "source": sdk.StepSource.MODEL,
        "target": sdk.StepTarget.USER,
        "status": sdk.StepStatus.ACTIVE,
        "content_delta": text,
    }
    return sdk.Step(**{**settings, **fields})


class ScriptedSession:
    """Plays lists of steps, one list for each turn, in place of the SDK.

    A number in a list is a pause in seconds, an exception is raised.
    """

    begun = True
    closed = False
    hooks_at_work: tuple[str, ...] = ()
    broken_reason = ""
    stop_reason = sdk.StopReason.UNSPECIFIED
    sandbox = None
    pid = 1
    conversation_id = "conversation"

    def __init__(self, turns: deque[list[Any]], *, halts: bool = True) -> None:
        self._turns = turns
        self._halts = halts
        self._left: deque[Any] = deque()
        self._cancelled = asyncio.Event()
        self.prompts: list[Any] = []
        self.calls: list[str] = []
        self.busy = False
        self.history: list[sdk.Step] = []
        self.usage = sdk.UsageMetadata(total_token_count=0)

    async def open(self) -> None:
        self.calls.append("open")

    async def close(self, *, at_once: bool = False) -> None:
        self.calls.append("close at once" if at_once else "close")

    def allow_tools(self) -> None: ...

    async def send(self, prompt: Any) -> None:
        self.prompts.append(prompt)
        self._left = deque(self._turns.popleft())
        self._cancelled.clear()

    async def next_step(self) -> sdk.Step | None:
        while self._left:
            part = self._left.popleft()
            if isinstance(part, int | float):
                try:
                    await asyncio.wait_for(self._cancelled.wait(), part)
                except TimeoutError:
                    continue
                return None
            if isinstance(part, BaseException):
                raise part
            return cast("sdk.Step", part)
        return None

    async def cancel(self) -> None:
        self.calls.append("cancel")
        self._cancelled.set()

    async def halt(self, grace: float) -> bool:
        self.calls.append("halt")
        if not self._halts:
            await asyncio.sleep(grace)
        self._left.clear()
        return self._halts

    def kill(self) -> None:
        self.calls.append("kill")


class World:
    """A turn runner with its environment. Make it on a running loop."""

    def __init__(
        self,
        *turns: list[Any],
        retry: RetryPolicy | None = None,
        halts: bool = True,
        record: AgentRecord | None = None,
        **spec: Any,
    ) -> None:
        self.session = ScriptedSession(deque(turns), halts=halts)
        self.crashes: list[Exception] = []
        self.spec = AgentSpec(
            name="agent",
            supervisor="supervisor",
            config=cast("AgentConfig", None),
            conversation_id="conversation",
            save_dir=Path(),
            retry=retry or RetryPolicy(attempts=1),
            max_model_errors=spec.pop("max_model_errors", 0),
            max_empty_steps=spec.pop("max_empty_steps", 0),
            idle_timeout=spec.pop("idle_timeout", None),
            stop_timeout=1.0,
            hub=EventHub(),
            pace=PaceBoard(0.0),
            slots=TurnSlots(),
            pace_key="key",
            secrets=(),
        )
        clock = asyncio.get_running_loop().time
        self.agent = AgentIncarnation(self.spec, record or AgentRecord(), clock)
        self.sessions = SessionKeeper(
            self.agent,
            lambda _: cast("Session", self.session),
            lambda: "new",
            crash=self.crash,
            turns_wait=lambda: False,
            is_stopping=lambda: False,
            on_idle=lambda: None,
        )
        self.turns = TurnRunner(
            self.agent,
            self.sessions,
            TurnSlot(self.spec.slots, lambda: "urn", clock),
            TriggerTurns(self.agent.record.notices, lambda *_: False, lambda: False),
            crash=self.crash,
            on_start=lambda: None,
            on_end=lambda: None,
        )

    def crash(self, error: Exception) -> bool:
        self.crashes.append(error)
        return self.agent.move(AgentState.CRASHED)

    async def start(self) -> None:
        self.sessions.start(self.sessions.open())
        await self.sessions.wait_until_open()

    def begin(self, message: Any) -> asyncio.Task[ChatReply | None]:
        """Begin a turn, as the actor does with a message from its mailbox."""
        return self.resume(Envelope(message, ReplyFuture()))

    def resume(self, envelope: Envelope) -> asyncio.Task[ChatReply | None]:
        self.turns.take_up(envelope)
        return asyncio.get_running_loop().create_task(self._handle(envelope))

    async def _handle(self, envelope: Envelope) -> ChatReply | None:
        try:
            reply = await self.turns.take_turn(envelope.message)
        except Exception as error:
            if envelope.reply_to is not None:
                fail(envelope.reply_to, error)
            raise
        resolve(envelope.reply_to, reply)
        return reply
