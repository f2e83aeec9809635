"""`SimulatedAgent`: a configuration whose agent plays a script and does not use the SDK.

Turns, retries, restarts, quotas and pools run unchanged. Only the session is simulated
(`agy_actors._sdk.session.Session`). It needs no process, no socket and, in a `Simulation`, no real
time. It also works on real threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from google.antigravity import AgentConfig
from google.antigravity import types as sdk
from pydantic import PrivateAttr

from agy_actors._actors.runtime import current_runtime
from agy_actors._sdk.session import Session
from agy_actors._sdk.session_errors import SessionBroken
from agy_actors._sdk.tools import call_tool
from agy_actors.testing.simulation.simulated_state import (
    Conversation,
    SimulatedRequest,
    SimulatedState,
)
from agy_actors.testing.simulation.simulated_turns import Ending, SimulatedTurn, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._sdk.conversation_lock import ConversationLock
    from agy_actors._sdk.packed_conversation import PackedConversation
    from agy_actors.testing.simulation.simulated_state import Script

__all__ = ["SimulatedAgent", "SimulatedRequest"]

_STEP_TOKENS = 10
"""The tokens that each turn reports. Arbitrary: tests check that none are lost."""


class SimulatedSession(Session):
    """A session that plays a script. It gives the guarantees of `Session`.

    Only the conversations of `create_sessions`, which several programs may share, have a lock and a
    file. The file is empty: it exists as long as the conversation is not deleted. Their content is
    in the configuration's state, as that of all others.
    """

    def __init__(  # Session's own constructor would create an agent of the SDK.
        self,
        config: SimulatedAgent,
        *,
        start_timeout: float,
        on_death: Callable[[], None],
        on_step: Callable[[], None],
        lock: ConversationLock | None = None,
        packed: PackedConversation | None = None,
        **_: Any,
    ) -> None:
        self._config = config
        self._state = config._state  # noqa: SLF001 (one concept in two classes)
        self._id = config.conversation_id or ""
        self._start_timeout = start_timeout
        self._on_death = on_death
        self._on_step = on_step
        self._shared_lock = None if packed is None else lock
        self._opened = False
        self._broken: SessionBroken | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = current_runtime().number("simulated process")
        self._playing: asyncio.Task[None] | None = None
        self._steps: asyncio.Queue[sdk.Step | None] = asyncio.Queue()  # type: ignore[assignment]
        self._busy = False
        self._stuck = False

    @property
    def conversation_id(self) -> str:
        """The id of its conversation."""
        return self._id

    @property
    def pid(self) -> int | None:
        """A number that is unique in the simulation, while the session is open."""
        return self._pid if self._opened else None

    @property
    def history(self) -> list[sdk.Step]:
        """The steps of the previous turns."""
        return list(self._conversation.history)

    @property
    def usage(self) -> sdk.UsageMetadata:
        """The conversation's usage so far."""
        return self._conversation.usage.model_copy()

    @property
    def sandbox(self) -> sdk.SandboxStatus | None:
        """`None`: there is no sandbox."""
        return None

    @property
    def stop_reason(self) -> sdk.StopReason:
        """Always unspecified."""
        return sdk.StopReason.UNSPECIFIED

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._opened and self._broken is None and self._busy

    @property
    def _conversation(self) -> Conversation:
        return self._state.conversations.setdefault(self._id, Conversation())

    @property
    def hooks_at_work(self) -> tuple[str, ...]:
        """Always empty: no hooks are called."""
        return ()

    async def open(self) -> None:
        """Start, which takes the configured time. See `Session.open`."""
        self._loop = asyncio.get_running_loop()
        if self._shared_lock is not None:
            self._shared_lock.take()
        try:
            await self._start_process()
            if self._shared_lock is not None:
                self._open_file()
        except BaseException:
            self.closed = True
            self._release()
            raise
        self._opened = True
        self._state.running += 1
        self._state.max_running = max(self._state.max_running, self._state.running)

    async def _start_process(self) -> None:
        async with asyncio.timeout(self._start_timeout):
            await asyncio.sleep(self._state.start)
        if self._state.failing_starts > 0 or self._state.may_crash():
            self._state.failing_starts -= 1
            raise RuntimeError("the simulated process died while it started")

    def _open_file(self) -> None:
        """Create the file of a conversation that is new, or that was deleted."""
        file = Path(self._config.save_dir or "", f"{self._id}.db")
        if not file.exists():
            self._state.conversations.pop(self._id, None)
            file.touch(0o600)

    def _release(self) -> None:
        if self._shared_lock is not None:
            self._shared_lock.release()

    def allow_tools(self) -> None:
        """Do nothing: tools are called by the script, and end with it."""

    async def send(self, prompt: Any) -> None:
        """Start to play a turn."""
        self._check()
        state = self._state
        state.requests.append(SimulatedRequest(prompt, self._id, current_runtime().monotonic()))
        self._busy = True
        self._playing = asyncio.get_running_loop().create_task(self._play(prompt))

    async def next_step(self) -> sdk.Step | None:
        """Return the next step of the script. See `Session.next_step`."""
        if self._steps.empty():
            self._check()
            if not self._busy:
                return None
        step = await self._steps.get()
        if step is None:
            self._check()
        return step

    @property
    def begun(self) -> bool:
        """Always `True`: an interrupted turn leaves no steps behind."""
        return True

    async def cancel(self) -> None:
        """End the turn, unless it is stuck."""
        self._check()
        if self._playing is not None and not self._stuck:
            self._playing.cancel()

    def kill(self) -> None:
        """Let the process die. Thread-safe."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._die, "the simulated process was killed")

    def reap(self) -> None:
        """Let the process die, and release the conversation for good."""
        self.kill()
        if self._shared_lock is not None:
            self._shared_lock.renounce()

    async def close(self, *, at_once: bool = False) -> None:
        """Stop the turn and the process."""
        self.closed = True
        if not self._opened:
            return
        self._opened = False
        self._state.running -= 1
        if self._playing is not None:
            self._playing.cancel()
        try:
            if not at_once:
                await asyncio.sleep(self._state.stop)
        finally:
            self._release()

    # The script.

    async def _play(self, prompt: Any) -> None:
        try:
            await self._play_turn(prompt, self._state.next_turn(prompt))
        except asyncio.CancelledError:
            self._end_turn()
        except SessionBroken as broken:
            self._busy = False
            self._break(str(broken))
            self._steps.put_nowait(None)

    async def _play_turn(self, prompt: Any, turn: SimulatedTurn) -> None:
        first = len(self._conversation.history)
        self._bring(sdk.Step(step_index=first, source=sdk.StepSource.USER, content=str(prompt)))
        await self._pass(turn.after)
        for name, args in turn.tools:
            await self._call_tool(name, args)
        text = str(prompt) if turn.text is None else turn.text
        index = len(self._conversation.history)
        said = ""
        for piece in text.splitlines(keepends=True):
            if said:
                await self._pass(turn.apart)
            said += piece
            self._emit(_speech(index, said, piece, done=False))
        match turn.ending:
            case Ending.WELL:
                await self._pass(0.0)
                spent = sdk.UsageMetadata(total_token_count=_STEP_TOKENS)
                self._conversation.usage = self._conversation.usage + spent
                self._bring(_speech(index, said, "", done=True))
                self._end_turn()
            case Ending.ERROR:
                raise SessionBroken(refusal(turn))
            case Ending.CRASH:
                self._die("the simulated process crashed")
            case Ending.HANG | Ending.STUCK:
                self._stuck = turn.ending is Ending.STUCK
                await asyncio.get_running_loop().create_future()

    async def _pass(self, seconds: float) -> None:
        """Wait. The process may die afterwards."""
        if seconds > 0:
            await asyncio.sleep(seconds)
        if self._state.may_crash():
            self._die("the simulated process crashed here")
            await asyncio.get_running_loop().create_future()  # `_die` has cancelled this task.

    async def _call_tool(self, name: str, args: dict[str, Any]) -> None:
        call = sdk.ToolCall(name=name, args=args, id=f"call-{len(self._conversation.history)}")
        step = sdk.Step(
            step_index=len(self._conversation.history),
            type=sdk.StepType.TOOL_CALL,
            source=sdk.StepSource.MODEL,
            target=sdk.StepTarget.ENVIRONMENT,
            status=sdk.StepStatus.ACTIVE,
            tool_calls=[call],
        )
        self._emit(step)
        for tool in self._config.tools:
            if callable(tool) and (getattr(tool, "__name__", None) or type(tool).__name__) == name:
                await call_tool(tool, **args)  # Only a model would see the result or error.
        await self._pass(0.0)
        self._bring(step.model_copy(update={"status": sdk.StepStatus.DONE}))

    def _emit(self, step: sdk.Step) -> None:
        if self._broken is None:
            self._steps.put_nowait(step)
            self._on_step()

    def _bring(self, step: sdk.Step) -> None:
        """Emit a step, and add it to the history."""
        self._conversation.history.append(step)
        self._emit(step)

    def _end_turn(self) -> None:
        if self._broken is None:
            self._busy = False
            self._steps.put_nowait(None)
            self._on_step()

    def _break(self, reason: str) -> SessionBroken:
        self._broken = SessionBroken(reason)
        return self._broken

    def _die(self, how: str) -> None:
        if self._broken is not None or not self._opened:
            return
        self._break(how)
        self._busy = False
        self._steps.put_nowait(None)
        if self._playing is not None:
            self._playing.cancel()
        self._on_death()


def _speech(index: int, said: str, piece: str, *, done: bool) -> sdk.Step:
    return sdk.Step(
        step_index=index,
        type=sdk.StepType.TEXT_RESPONSE,
        source=sdk.StepSource.MODEL,
        target=sdk.StepTarget.USER,
        status=sdk.StepStatus.DONE if done else sdk.StepStatus.ACTIVE,
        content=said,
        content_delta=piece,
        is_complete_response=done,
    )


class SimulatedAgent(AgentConfig):
    """The configuration of an agent that plays a script; for `create_agent` and pools.

    Args:
        script: the turns in order, after which each turn repeats its prompt; or a function that
            takes the prompt and returns a turn. All agents with this configuration share it.
        crashes: how often the process dies, at steps that the schedule chooses. Without effect
            outside a simulation.
        start: the seconds that a start takes.
        stop: the seconds that a stop takes.
        api_key: the key whose quota it uses. Agents with the same key share a quota.
        settings: fields of the SDK's `AgentConfig`, such as `tools`. Its tools are called.
    """

    session_type: ClassVar[type[Session]] = SimulatedSession
    """The session that replaces the SDK's."""

    api_key: str = ""
    """The key whose quota it uses."""

    _state: SimulatedState = PrivateAttr()

    def __init__(
        self,
        script: Script = (),
        *,
        crashes: int = 0,
        start: float = 0.0,
        stop: float = 0.0,
        api_key: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(**{**settings, "api_key": api_key})
        self._state = SimulatedState(script, crashes=crashes, start=start, stop=stop)

    @property
    def requests(self) -> list[SimulatedRequest]:
        """The prompts that reached the model so far, in order."""
        return list(self._state.requests)

    @property
    def running(self) -> int:
        """The number of processes that run."""
        return self._state.running

    def fail_starts(self, times: int) -> Self:
        """Let the next `times` starts fail, and return this configuration."""
        self._state.failing_starts = times
        return self

    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> Any:
        """Raise `NotImplementedError`: the SDK's own `Agent` cannot use this configuration."""
        raise NotImplementedError(
            "only a supervisor or a pool can create an agent from a SimulatedAgent"
        )
