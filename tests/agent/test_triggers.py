"""Turns that a trigger begins: nobody asked for them, and they are seen all the same."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.triggers import every, on_file_change

from agy_actors import (
    Chat,
    GetHistory,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    InvalidConfig,
    IsIdle,
    TurnEnded,
    WaitForIdle,
    WaitForWakeup,
)
from agy_actors.testing import ScriptedModel, call_tool, http_error, say
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.triggers import TriggerContext

    from agy_actors import AgentRef, Event, SupervisorRef
    from agy_actors.testing import ModelRequest

NEWS = "content=news"
"""What the harness makes of the news in the model's request."""


class Bell:
    """A trigger that the test rings, from its own thread."""

    def __init__(self) -> None:
        self._rings: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.started = threading.Semaphore(0)

    async def __call__(self, ctx: TriggerContext) -> None:
        ring = (asyncio.get_running_loop(), asyncio.Event())
        self._rings.add(ring)
        self.started.release()
        try:
            while True:
                await ring[1].wait()
                ring[1].clear()
                await ctx.send("news")
        finally:
            self._rings.discard(ring)

    def ring(self) -> None:
        for loop, event in list(self._rings):
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def config(model: ScriptedModel, bell: Bell) -> AgentConfig:
    return model.openai_config(triggers=[bell])


@pytest.fixture
def listener(supervisor: SupervisorRef, config: AgentConfig, bell: Bell) -> AgentRef:
    ref = supervisor.create_agent(config, "listener")
    assert bell.started.acquire(timeout=PATIENCE)
    return ref


def texts(ref: AgentRef) -> list[str]:
    return [step.content for step in ref.ask(GetHistory()) if step.is_complete_response]


def test_a_turn_that_a_trigger_begins_is_seen_as_any_other(
    model: ScriptedModel, supervisor: SupervisorRef, listener: AgentRef, bell: Bell
) -> None:
    gate = threading.Event()
    model.when(NEWS, say("I see.", gate=gate))
    ended: list[Event] = []
    supervisor.subscribe(
        lambda event: ended.append(event) if isinstance(event, TurnEnded) else None
    )
    wakeup = listener.ask(WaitForWakeup(timeout=PATIENCE), block=False)

    bell.ring()

    assert wakeup.get(timeout=PATIENCE)
    assert not listener.ask(IsIdle())
    gate.set()
    listener.ask(WaitForIdle(), timeout=PATIENCE)
    assert texts(listener) == ["I see."]
    assert listener.ask(GetTurnCount()) == 1
    assert (listener.ask(GetTotalUsage()).total_token_count or 0) > 0
    until(lambda: any(isinstance(event, TurnEnded) for event in ended))


def test_who_asks_while_a_triggers_turn_runs_gets_an_answer_of_its_own_after_it(
    model: ScriptedModel, listener: AgentRef, bell: Bell
) -> None:
    gate = threading.Event()
    model.when(NEWS, say("I see.", gate=gate))
    bell.ring()
    until(lambda: not listener.ask(IsIdle()))

    future = listener.ask(Chat("hello"), block=False)
    gate.set()

    assert future.get(timeout=PATIENCE).text == "echo: hello"
    assert texts(listener) == ["I see.", "echo: hello"]


def test_tools_work_in_a_triggers_turn(
    model: ScriptedModel, supervisor: SupervisorRef, bell: Bell
) -> None:
    used = threading.Event()

    def note() -> str:
        """Take a note."""
        used.set()
        return "noted"

    def has_result(request: ModelRequest) -> bool:
        return request.messages[-1][0] == "tool"

    model.when(NEWS, call_tool("note"), times=1)
    model.when(has_result, say("Noted."))
    ref = supervisor.create_agent(model.openai_config(tools=[note], triggers=[bell]))
    assert bell.started.acquire(timeout=PATIENCE)

    bell.ring()

    assert used.wait(PATIENCE)
    until(lambda: texts(ref) == ["Noted."])


def test_a_triggers_turn_that_breaks_is_no_askers_error(
    model: ScriptedModel, listener: AgentRef, bell: Bell
) -> None:
    model.when(NEWS, http_error(400))

    bell.ring()
    assert bell.started.acquire(timeout=PATIENCE)  # Again: the agent was renewed.

    assert listener.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    assert listener.ask(GetStatistics()).restarts == 1


def test_triggers_run_again_after_a_crash(
    model: ScriptedModel, listener: AgentRef, bell: Bell
) -> None:
    kill_harness(listener)
    assert bell.started.acquire(timeout=PATIENCE)

    bell.ring()

    model.wait_for_requests(1)
    until(lambda: len(texts(listener)) == 1)


def test_a_timer_is_a_trigger(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    sent: list[int] = []

    async def tick(ctx: TriggerContext) -> None:
        if not sent:
            sent.append(1)
            await ctx.send("news")

    ref = supervisor.create_agent(model.openai_config(triggers=[every(0.01, tick)]))

    until(lambda: len(texts(ref)) == 1)


def test_a_file_that_changes_is_a_trigger(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    async def tell(ctx: TriggerContext, changes: Any) -> None:
        await ctx.send(f"changed: {[change.path for change in changes]}")

    config = model.openai_config(triggers=[on_file_change(tmp_path, tell)])
    ref = supervisor.create_agent(config)

    def write() -> bool:
        (tmp_path / "news.txt").write_text("x")  # Until it is watched: nobody tells.
        return bool(texts(ref))

    until(write)
    assert "news.txt" in texts(ref)[0]


def test_an_agent_with_triggers_cannot_sleep(
    supervisor: SupervisorRef, config: AgentConfig
) -> None:
    with pytest.raises(InvalidConfig, match="triggers"):
        supervisor.create_agent(config, idle_timeout=10)
