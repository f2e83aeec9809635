"""Agents with a new conversation for each turn, like the members of most pools."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import tenacity
from google.antigravity.triggers import every

from agy_actors import (
    AgentCrashed,
    Chat,
    GetHistory,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    InvalidConfig,
    IsIdle,
    RetryPolicy,
    StateNotSaved,
    Supervisor,
    TurnStalled,
    WaitForIdle,
)
from agy_actors._agents import open_sessions
from agy_actors._agents.creation_messages import CreateAgent
from agy_actors._agents.next_conversation import NextConversation
from agy_actors._sdk.hook_calls import HookCalls
from agy_actors.testing import ScriptedModel, Usage, say, silence
from tests.harnesses import PATIENCE, SOON, children, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from google.antigravity import Agent

    from agy_actors import AgentRef, Event, SupervisorRef
    from agy_actors._sdk.session import Session
    from tests.agents.agents import Configure


def create(supervisor: SupervisorRef, config: Any, **options: Any) -> AgentRef:
    message = CreateAgent(config, "worker", new_conversation_each_turn=True, **options)
    return supervisor.ask(message, timeout=PATIENCE)


def paths_in(folder: Path) -> list[Path]:
    """Return the paths of all files and folders, while others remove some."""
    walk = os.walk(folder)  # It skips removed files.
    return [Path(root, name) for root, folders, files in walk for name in folders + files]


def files_in(folder: Path) -> list[Path]:
    return [path for path in paths_in(folder) if path.is_file()]


def test_each_turn_has_its_own_conversation(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    worker = create(supervisor, configure())

    replies = [worker.ask(Chat(f"prompt {n}"), timeout=PATIENCE) for n in range(4)]

    assert [reply.text for reply in replies] == [f"echo: prompt {n}" for n in range(4)]
    users = [[text for role, text in r.messages if role == "user"] for r in model.requests]
    assert users == [[f"prompt {n}"] for n in range(4)]
    assert len({reply.conversation_id for reply in replies}) == 4


def test_the_files_of_a_used_conversation_are_removed(model: ScriptedModel, tmp_path: Path) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        worker = create(supervisor, model.openai_config())
        used = {worker.ask(Chat("hi"), timeout=PATIENCE).conversation_id for _ in range(3)}
        until(lambda: not any(part in str(path) for part in used for path in paths_in(tmp_path)))

    assert not files_in(tmp_path)


def test_a_conversation_for_one_turn_is_not_saved(model: ScriptedModel, tmp_path: Path) -> None:
    events: list[Event] = []
    model.then(silence())
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        supervisor.subscribe(events.append)
        worker = create(supervisor, model.openai_config())
        turn = worker.ask(Chat("hi"), block=False)
        model.wait_for_requests(1)

        assert not [path for path in files_in(tmp_path) if path.suffix in (".db", ".lock")]
        turn.cancel()
        worker.ask(Chat("again"), timeout=PATIENCE)

    assert not [event for event in events if isinstance(event, StateNotSaved)]


class SlowOpening:
    """Holds up the start of one session. The harness has opened the conversation by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.reached = threading.Event()
        self.may_continue = threading.Event()
        self.was_cancelled = False
        self._left = number
        really_wait = HookCalls.wait_for_start

        async def wait_longer(hooks: HookCalls, agent: Agent) -> None:
            await really_wait(hooks, agent)
            self._left -= 1
            if self._left == 0:
                await self._wait()

        monkeypatch.setattr(HookCalls, "wait_for_start", wait_longer)

    async def _wait(self) -> None:
        self.reached.set()
        try:
            while not self.may_continue.is_set():  # noqa: ASYNC110 (a thread sets it)
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


@pytest.mark.parametrize("opens", [True, False], ids=["which opens then", "which never opens"])
def test_the_files_of_a_conversation_that_was_being_opened_are_removed(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    monkeypatch.setattr(open_sessions, "_OPENING", PATIENCE if opens else 0.05)
    opening = SlowOpening(monkeypatch, 2)
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        worker = create(supervisor, model.openai_config())
        worker.ask(Chat("hi"), timeout=PATIENCE)
        assert opening.reached.wait(PATIENCE)

        end = supervisor.shutdown(block=False)
        if opens:
            opening.may_continue.set()
        end.get(timeout=PATIENCE)

    assert opening.was_cancelled is not opens
    assert not files_in(tmp_path)


def test_the_files_of_an_abandoned_first_conversation_are_removed(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_sessions, "_OPENING", 0.05)
    opening = SlowOpening(monkeypatch, 1)
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        message = CreateAgent(model.openai_config(), "worker", new_conversation_each_turn=True)
        creation = supervisor.ask(message, block=False)
        assert opening.reached.wait(PATIENCE)

        creation.cancel()

        until(lambda: opening.was_cancelled)
    assert not files_in(tmp_path)


def test_the_next_conversation_is_opened_while_the_turn_runs(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = SlowOpening(monkeypatch, 2)
    model.then(silence())
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        worker = create(supervisor, model.openai_config())

        turn = worker.ask(Chat("hi"), block=False)
        model.wait_for_requests(1)
        assert opening.reached.wait(PATIENCE)

        opening.may_continue.set()
        turn.cancel()
        assert worker.ask(Chat("again"), timeout=PATIENCE).text == "echo: again"


def test_a_turn_that_a_crash_interrupted_is_retried_in_a_new_conversation(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(silence("half of an "))
    worker = create(supervisor, model.openai_config())
    turn = worker.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    kill_harness(worker)
    reply = turn.get(timeout=PATIENCE)

    assert reply.text == "echo: hi"
    assert reply.attempts == 2
    assert [role for role, _ in model.requests[-1].messages].count("user") == 1


def test_a_turn_that_is_retried_without_a_crash_has_a_new_conversation(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(silence())
    retry = RetryPolicy(retry=tenacity.retry_if_exception_type(TurnStalled))
    worker = create(supervisor, model.openai_config(), retry=retry)

    reply = worker.ask(Chat("hi", stall_timeout=0.5), timeout=PATIENCE)

    assert reply.text == "echo: hi"
    assert [role for role, _ in model.requests[-1].messages].count("user") == 1
    assert worker.ask(GetStatistics()).restarts == 0


def test_turns_and_tokens_are_counted_across_conversations(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    model.then(*[say("one", usage=Usage(prompt=10, completion=5)) for _ in range(3)])
    worker = create(supervisor, model.openai_config())

    for n in range(3):
        assert worker.ask(Chat(f"prompt {n}"), timeout=PATIENCE).usage is not None

    assert worker.ask(GetTurnCount(), timeout=SOON) == 3
    assert worker.ask(GetTotalUsage(), timeout=SOON).total_token_count == 45
    assert not [step for step in worker.ask(GetHistory()) if "prompt 1" in step.content]


def test_a_worker_is_idle_between_its_conversations(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    worker = create(supervisor, model.openai_config())

    for n in range(10):
        worker.ask(Chat(f"prompt {n}"), timeout=PATIENCE)
        worker.ask(WaitForIdle(), timeout=SOON)
        assert worker.ask(IsIdle(), timeout=SOON)
        assert worker.ask(GetStatistics(), timeout=SOON).state == "idle"


def test_an_idle_worker_sleeps_and_wakes_in_a_new_conversation(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    worker = create(supervisor, model.openai_config(), idle_timeout=0.05)
    worker.ask(Chat("first"), timeout=PATIENCE)
    until(lambda: worker.ask(GetStatistics(), timeout=SOON).state == "asleep")

    reply = worker.ask(Chat("second"), timeout=PATIENCE)

    assert reply.text == "echo: second"
    assert [text for role, text in model.requests[-1].messages if role == "user"] == ["second"]


@pytest.mark.own_processes
def test_the_death_of_the_next_conversations_process_is_not_a_crash(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    answer = threading.Event()
    model.then(say("held", gate=answer))
    worker = create(supervisor, model.openai_config())
    [first] = children()
    turn = worker.ask(Chat("held"), block=False)
    model.wait_for_requests(1)
    until(lambda: len(children()) == 2)

    [following] = [child for child in children() if child != first]
    os.kill(following.pid, signal.SIGKILL)
    until(lambda: following not in children())
    answer.set()

    assert turn.get(timeout=PATIENCE).text == "held"
    assert worker.ask(Chat("next"), timeout=PATIENCE).text == "echo: next"
    assert worker.ask(GetStatistics()).restarts == 0
    assert AgentCrashed not in map(type, events)


def test_a_fixed_conversation_or_triggers_are_refused(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    async def tick(_: Any) -> None: ...

    with pytest.raises(InvalidConfig, match=r"conversation_id.*keep_conversation=True"):
        create(supervisor, model.openai_config(conversation_id="a" * 32))
    with pytest.raises(InvalidConfig, match=r"triggers.*keep_conversation=True"):
        create(supervisor, model.openai_config(triggers=[every(60, tick)]))


class Opener:
    """Opens substitutes for sessions."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[object] = []
        self.failures = 0

    async def open(self) -> Any:
        self.opened += 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no such luck")
        return self.opened

    async def close(self, session: Session) -> None:
        self.closed.append(session)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_a_session_that_was_opened_in_advance_is_taken_once() -> None:
    async def test() -> None:
        opener = Opener()
        ahead = NextConversation(opener.open, opener.close, contextvars.copy_context())
        ahead.prepare()
        ahead.prepare()

        taken: list[object] = [await ahead.take(), await ahead.take()]
        assert taken == [1, 2]

        await ahead.close()
        assert opener.closed == []

    run(test())


def test_a_failure_to_open_in_advance_is_not_raised_and_another_session_is_opened() -> None:
    async def test() -> None:
        opener = Opener()
        ahead = NextConversation(opener.open, opener.close, contextvars.copy_context())
        opener.failures = 1
        ahead.prepare()
        taken: object = await ahead.take()
        assert taken == 2

        opener.failures = 2
        ahead.prepare()
        with pytest.raises(RuntimeError, match="no such luck"):
            await ahead.take()

    run(test())


def test_a_session_that_was_opened_in_advance_is_closed_unless_it_was_discarded() -> None:
    async def test() -> None:
        opener = Opener()
        ahead = NextConversation(opener.open, opener.close, contextvars.copy_context())
        ahead.prepare()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not ahead.discard(cast("Session", 2))
        assert ahead.discard(cast("Session", 1))
        await ahead.close()
        assert opener.closed == []

        ahead.prepare()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await ahead.close()
        assert opener.closed == [2]

    run(test())
