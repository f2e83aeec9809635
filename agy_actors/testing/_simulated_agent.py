"""`SimulatedAgent`: a configuration whose agent plays a script, in place of the SDK.

Everything of agy_actors runs as it does: turns, retries, restarts, quotas, pools. What is
played is the SDK's conversation, at the one place where all of the SDK is behind
(`agy_actors._agent._session.Session`). It takes no process, no socket and, in a
`Simulation`, no time. It may be used on real threads as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Self

from google.antigravity import AgentConfig
from google.antigravity import types as sdk
from pydantic import PrivateAttr

from agy_actors._agent._session import Session, SessionBroken
from agy_actors._harness import call_tool
from agy_actors._kernel import current_host
from agy_actors.testing._simulated_turns import Ending, SimulatedTurn, reply
from agy_actors.testing._simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["SimulatedAgent", "SimulatedRequest"]

_STEP_TOKENS = 10
"""Tokens that each turn counts. Arbitrary: what is checked is that none are lost."""


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """A prompt that reached the model."""

    prompt: Any
    conversation_id: str
    at: float
    """When, on the host's clock."""


@dataclasses.dataclass(eq=False)
class _Conversation:
    """What the disk keeps of a conversation, whatever becomes of its process."""

    history: list[sdk.Step] = dataclasses.field(default_factory=list)
    usage: sdk.UsageMetadata = dataclasses.field(default_factory=sdk.UsageMetadata)


class _Stage:
    """What all incarnations and all members of a pool share that are of one configuration."""

    def __init__(self, script: Script, *, crashes: int, start: float, stop: float) -> None:
        self._play = script if callable(script) else None
        self._turns = deque[SimulatedTurn]() if callable(script) else deque(script)
        self.crashes = crashes
        self.start = start
        self.stop = stop
        self.failing_starts = 0
        self.conversations: dict[str, _Conversation] = {}
        self.requests: list[SimulatedRequest] = []
        self.running = 0
        self.most_running = 0

    def __deepcopy__(self, _: object) -> _Stage:
        return self  # Copies of a configuration are one agent's.

    def next_turn(self, prompt: Any) -> SimulatedTurn:
        if self._play is not None:
            return self._play(prompt)
        return self._turns.popleft() if self._turns else reply()

    def may_crash(self) -> bool:
        """Draw whether the process dies here, if it may and if this is a simulation."""
        simulation = Simulation.current()
        if self.crashes <= 0 or simulation is None:
            return False
        dies = simulation.choose(False, True)
        self.crashes -= dies
        return dies


if TYPE_CHECKING:
    Script = Iterable[SimulatedTurn] | Callable[[Any], SimulatedTurn]


class SimulatedSession(Session):
    """A conversation that is played. See `Session`, whose guarantees it shares."""

    def __init__(  # not Session's: that makes an agent of the SDK
        self,
        config: SimulatedAgent,
        *,
        start_timeout: float,
        on_death: Callable[[], None],
        on_step: Callable[[], None],
        **_: Any,
    ) -> None:
        self._config = config
        self._stage = config.stage
        self._id = config.conversation_id or ""
        self._start_timeout = start_timeout
        self._on_death = on_death
        self._on_step = on_step
        self._opened = False
        self._broken: SessionBroken | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = current_host().number("simulated process")
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
        """A number that no other process of the simulation has, while it is open."""
        return self._pid if self._opened else None

    @property
    def last_words(self) -> str:
        """Nothing: there is no standard error."""
        return ""

    @property
    def history(self) -> list[sdk.Step]:
        """The steps of the turns before."""
        return list(self._conversation.history)

    @property
    def usage(self) -> sdk.UsageMetadata:
        """The conversation's usage so far."""
        return self._conversation.usage.model_copy()

    @property
    def sandbox(self) -> sdk.SandboxStatus | None:
        """None."""
        return None

    @property
    def stop_reason(self) -> sdk.StopReason:
        """None in particular."""
        return sdk.StopReason.UNSPECIFIED

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._opened and self._broken is None and self._busy

    @property
    def _conversation(self) -> _Conversation:
        return self._stage.conversations.setdefault(self._id, _Conversation())

    @property
    def hooks_at_work(self) -> tuple[str, ...]:
        """None: no hooks are called."""
        return ()

    async def open(self) -> None:
        """Come up, in the time that the script says."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._start_timeout):
            await asyncio.sleep(self._stage.start)
        if self._stage.failing_starts > 0 or self._stage.may_crash():
            self._stage.failing_starts -= 1
            raise RuntimeError("the simulated process died while it started")
        self._opened = True
        self._stage.running += 1
        self._stage.most_running = max(self._stage.most_running, self._stage.running)

    async def send(self, prompt: Any) -> None:
        """Begin to play a turn."""
        self._check()
        stage = self._stage
        stage.requests.append(SimulatedRequest(prompt, self._id, current_host().monotonic()))
        self._busy = True
        self._playing = asyncio.get_running_loop().create_task(self._play(prompt))

    async def next_step(self) -> sdk.Step | None:
        """Return what is played next. See `Session.next_step`."""
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
        """Whether what comes is of the last turn: what is not played to its end is gone."""
        return True

    async def cancel(self) -> None:
        """End the turn, unless it is stuck."""
        self._check()
        if self._playing is not None and not self._stuck:
            self._playing.cancel()

    def kill(self) -> None:
        """Have the process die. Callable from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._die, "the simulated process was killed")

    def reap(self) -> None:
        """Have the process die."""
        self.kill()

    async def close(self, *, at_once: bool = False) -> None:
        """Leave nothing running."""
        if not self._opened:
            return
        self._opened = False
        self._stage.running -= 1
        if self._playing is not None:
            self._playing.cancel()
        if not at_once:
            await asyncio.sleep(self._stage.stop)

    # Playing.

    async def _play(self, prompt: Any) -> None:
        try:
            await self._play_turn(prompt, self._stage.next_turn(prompt))
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
                raise SessionBroken(_refusal(turn))
            case Ending.CRASH:
                self._die("the simulated process crashed")
            case Ending.HANG | Ending.STUCK:
                self._stuck = turn.ending is Ending.STUCK
                await asyncio.get_running_loop().create_future()

    async def _pass(self, seconds: float) -> None:
        """Let time go by, in which the process may die."""
        if seconds > 0:
            await asyncio.sleep(seconds)
        if self._stage.may_crash():
            self._die("the simulated process crashed here")
            await asyncio.get_running_loop().create_future()  # It is cancelled.

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
                await call_tool(tool, **args)  # Whatever comes of it, the model alone is told.
        await self._pass(0.0)
        self._bring(step.model_copy(update={"status": sdk.StepStatus.DONE}))

    def _emit(self, step: sdk.Step) -> None:
        if self._broken is None:
            self._steps.put_nowait(step)
            self._on_step()

    def _bring(self, step: sdk.Step) -> None:
        """Emit a step that the conversation keeps."""
        self._conversation.history.append(step)
        self._emit(step)

    def _end_turn(self) -> None:
        if self._broken is None:
            self._busy = False
            self._steps.put_nowait(None)
            self._on_step()

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


def _refusal(turn: SimulatedTurn) -> str:
    """Say what went wrong as the SDK does (see `_agent._diagnosis`)."""
    later = "" if turn.retry_after is None else f", retry after {turn.retry_after:g}s"
    return f"HTTP request failed with status {turn.status}: simulated{later}"


class SimulatedAgent(AgentConfig):
    """The configuration of an agent that plays a script; for `create_agent` and pools.

    Args:
        script: the turns, one after another (then each repeats its prompt), or a function
            of the prompt that returns a turn. Of all that use this configuration.
        crashes: how often its process dies, at a step that the simulation draws.
        start: the seconds that a start takes.
        stop: the seconds that an end takes.
        api_key: whose quota it takes from, as others of the same key do.
        settings: fields of the SDK's `AgentConfig`: `tools`, say, which are called.
    """

    session_type: ClassVar[type[Session]] = SimulatedSession

    api_key: str = ""
    """Whose quota it takes from."""

    _stage: _Stage = PrivateAttr()

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
        self._stage = _Stage(script, crashes=crashes, start=start, stop=stop)

    @property
    def stage(self) -> _Stage:
        """What its incarnations share."""
        return self._stage

    @property
    def requests(self) -> list[SimulatedRequest]:
        """The prompts that reached the model, in order."""
        return list(self._stage.requests)

    @property
    def running(self) -> int:
        """How many processes there are."""
        return self._stage.running

    def fail_starts(self, times: int) -> Self:
        """Have the next starts fail."""
        self._stage.failing_starts = times
        return self

    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> Any:
        """Refuse: it is no agent of the SDK's own."""
        raise NotImplementedError("a SimulatedAgent is created by a supervisor or a pool alone")
