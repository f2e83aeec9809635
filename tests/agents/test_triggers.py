"""Turns that a trigger begins are published and counted although they have no asker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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
    TriggerFailed,
    TurnEnded,
    TurnStarted,
    WaitForIdle,
    WaitForWakeup,
)
from agy_actors.testing import ScriptedModel, call_tool, http_error, say, silence
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.triggers import TriggerContext

    from agy_actors import AgentEvent, AgentRef, Event, SupervisorRef
    from agy_actors.testing import ModelRequest

KEY = "sk-secret-key-0123456789"

NEWS = "content=news"
"""The text of the news in the model's request."""


class Bell:
    """A trigger that the test fires from its own thread."""

    def __init__(self) -> None:
        self._rings: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.started = threading.Semaphore(0)
        self.rung = 0
        """How many firings the trigger has not handled yet."""

    async def __call__(self, ctx: TriggerContext) -> None:
        ring = (asyncio.get_running_loop(), asyncio.Event())
        self._rings.add(ring)
        self.started.release()
        try:
            while True:
                await ring[1].wait()
                ring[1].clear()
                await ctx.send("news")
                self.rung = 0
        finally:
            self._rings.discard(ring)

    def ring(self) -> None:
        self.rung = 1
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


def test_a_turn_that_a_trigger_begins_is_published_like_any_other(
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


def test_an_ask_during_a_triggers_turn_gets_its_own_answer_after_it(
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


def test_a_triggers_turn_that_fails_is_not_an_askers_error(
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
        # Until the file is watched, which no event reports.
        (tmp_path / "news.txt").write_text("x")
        return bool(texts(ref))

    until(write)
    assert "news.txt" in texts(ref)[0]


def test_an_agent_with_triggers_cannot_sleep(
    supervisor: SupervisorRef, config: AgentConfig
) -> None:
    with pytest.raises(InvalidConfig, match="triggers"):
        supervisor.create_agent(config, idle_timeout=10)


def is_news(request: ModelRequest) -> bool:
    return NEWS in str(request.messages[-1])


def said_by(ref: AgentRef) -> list[str]:
    """Return the model's texts; a text that it repeated in a turn of a trigger counts once."""
    return [text for text, _ in itertools.groupby(texts(ref))]


class Eager:
    """A trigger that sends constantly until the test stops it."""

    def __init__(self) -> None:
        self.stopped = False

    async def __call__(self, ctx: TriggerContext) -> None:
        while not self.stopped:
            await asyncio.sleep(0.001)
            await ctx.send("news")


def test_asked_turns_and_turns_of_a_trigger_that_sends_constantly_alternate(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    eager = Eager()
    model.when(is_news, say("I see."))
    started: list[Event] = []
    supervisor.subscribe(
        lambda event: started.append(event) if isinstance(event, TurnStarted) else None
    )
    ref = supervisor.create_agent(model.openai_config(triggers=[eager]))
    prompts = [f"hello {number}" for number in range(4)]

    asked = [ref.ask(Chat(prompt, timeout=PATIENCE), block=False) for prompt in prompts]
    replies = [future.get(timeout=PATIENCE).text for future in asked]

    turns = len(started)
    assert replies == [f"echo: {prompt}" for prompt in prompts]
    eager.stopped = True
    said = said_by(ref)
    begin, end = said.index(replies[0]), said.index(replies[-1])
    assert said[begin:end] == [reply for asked in replies[:-1] for reply in (asked, "I see.")]
    assert turns <= 9  # Four and three between them, and one at either end.
    ref.ask(WaitForIdle(), timeout=PATIENCE)


def test_turns_that_are_asked_for_one_after_another_do_not_starve_a_trigger(
    model: ScriptedModel, listener: AgentRef, bell: Bell
) -> None:
    gate = threading.Event()
    model.when(is_news, say("I see."))
    model.when("hello 0", say("Hi.", gate=gate))
    asked = [listener.ask(Chat(f"hello {number}"), block=False) for number in range(4)]
    model.wait_for_requests(1)

    bell.ring()
    until(lambda: not bell.rung)
    gate.set()

    for future in asked:
        future.get(timeout=PATIENCE)
    assert said_by(listener)[:3] == ["Hi.", "I see.", "echo: hello 1"]


def test_a_text_that_a_trigger_sends_during_a_turn_is_not_part_of_its_reply(
    model: ScriptedModel, supervisor: SupervisorRef, listener: AgentRef, bell: Bell
) -> None:
    gate = threading.Event()
    model.when(is_news, say("I see."))
    model.when("hello", say("Hi.", gate=gate))
    started: list[Event] = []
    supervisor.subscribe(
        lambda event: started.append(event) if isinstance(event, TurnStarted) else None
    )
    turn = listener.ask(Chat("hello"), block=False)
    model.wait_for_requests(1)
    for _ in range(3):
        bell.ring()
        until(lambda: not bell.rung)

    gate.set()

    assert turn.get(timeout=PATIENCE).text == "Hi."
    listener.ask(WaitForIdle(), timeout=PATIENCE)
    assert said_by(listener) == ["Hi.", "I see."]
    assert len(started) == 2  # All texts in between are one turn.
    assert model.requests[-1].messages[-1][1].count("news") == 3


def test_the_next_incarnation_gets_a_triggers_text_after_a_crash(
    model: ScriptedModel, listener: AgentRef, bell: Bell
) -> None:
    model.when(is_news, silence(), times=1)
    model.when(is_news, say("I see."))
    bell.ring()
    model.wait_for_requests(1)

    kill_harness(listener)

    until(lambda: texts(listener) == ["I see."])
    assert listener.ask(GetStatistics()).restarts == 1


def test_a_trigger_that_sends_much_at_once_waits_and_nothing_is_lost(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    gate = threading.Event()
    sent: list[int] = []

    async def flood(ctx: TriggerContext) -> None:
        for number in range(250):
            await ctx.send(f"news <{number}>")
            sent.append(number)

    model.when("news <0>", say("I see.", gate=gate), times=1)
    ref = supervisor.create_agent(model.openai_config(triggers=[flood]))
    model.wait_for_requests(1)
    assert len(sent) < 250

    gate.set()

    until(lambda: len(sent) == 250)
    ref.ask(WaitForIdle(), timeout=PATIENCE)
    seen = str(model.requests[-1].messages)
    assert all(f"news <{number}>" in seen for number in range(250))


def test_an_agent_whose_trigger_waits_to_send_ends(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    async def flood(ctx: TriggerContext) -> None:
        while True:
            await ctx.send("news")

    model.when(is_news, silence())
    ref = supervisor.create_agent(model.openai_config(triggers=[flood]))
    model.wait_for_requests(1)

    supervisor.shutdown_agent(ref, timeout=PATIENCE)

    assert not ref.is_alive()


def failing(error: BaseException) -> Callable[[TriggerContext], Awaitable[None]]:
    async def watch_prices(_: TriggerContext) -> None:
        raise error

    return watch_prices


@pytest.mark.parametrize(
    "error",
    [ValueError, StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError],
)
def test_a_trigger_raises(
    error: type[BaseException], model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    failed: list[TriggerFailed] = []
    told = threading.Event()

    def take(event: Event) -> None:
        if isinstance(event, TriggerFailed):
            failed.append(event)
            told.set()

    supervisor.subscribe(take)
    config = model.openai_config(triggers=[failing(error("no prices"))])

    ref = supervisor.create_agent(config, "broker")

    assert told.wait(PATIENCE)
    event: AgentEvent = failed[0]
    assert event.agent == "broker"
    assert [(event.trigger, event.error) for event in failed] == [
        ("watch_prices", f"{error.__name__}: no prices")
    ]
    assert ref.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    assert ref.ask(GetStatistics()).restarts == 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (5, "TypeError: a trigger must send text, got 5"),
        (" ", "ValueError: a trigger must send text, and this one is empty"),
    ],
)
def test_a_trigger_that_does_not_send_text_fails_and_its_agent_does_not(
    content: Any, error: str, model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    failed: list[TriggerFailed] = []
    supervisor.subscribe(
        lambda event: failed.append(event) if isinstance(event, TriggerFailed) else None
    )

    async def send_it(ctx: TriggerContext) -> None:
        await ctx.send(content)

    ref = supervisor.create_agent(model.openai_config(triggers=[send_it]))

    until(lambda: bool(failed))
    assert (failed[0].trigger, failed[0].error) == ("send_it", error)
    assert ref.ask(Chat("hello"), timeout=PATIENCE).text == "echo: hello"
    assert ref.ask(GetStatistics()).restarts == 0


def test_the_event_of_a_failed_trigger_names_it_and_its_error_without_secrets(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    failed: list[TriggerFailed] = []
    supervisor.subscribe(
        lambda event: failed.append(event) if isinstance(event, TriggerFailed) else None
    )

    async def check(_: TriggerContext) -> None:
        raise RuntimeError(f"the key is {KEY}")

    config = model.gemini_config(triggers=[every(0.01, check)], api_key=KEY)
    supervisor.create_agent(config)

    until(lambda: bool(failed))
    assert failed[0].trigger == "every_0.01s"
    assert failed[0].error.startswith("RuntimeError: the key is")
    assert KEY not in failed[0].error
