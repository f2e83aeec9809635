"""The data that an agent keeps across incarnations, and the remains after its end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from google.antigravity import types as sdk
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from agy_actors import (
    AgentDeadError,
    Chat,
    Delete,
    Disconnect,
    GetConversationId,
    GetTurnCount,
    IsIdle,
    ModelError,
    Supervisor,
)
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future import ReplyFuture
from agy_actors._agents.record import AgentRecord
from agy_actors.testing import ScriptedModel, http_error, silence
from tests.harnesses import PATIENCE, SOON, kill_harness, pid_of, until
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agy_actors import AgentRef, SupervisorRef

KEY = "sk-very-secret-key-0123456789"


def usage(total: int) -> sdk.UsageMetadata:
    return sdk.UsageMetadata(prompt_token_count=total, total_token_count=total)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.integers(0, 100)), max_size=10))
def test_usage_never_shrinks_after_a_restart(
    rounds: list[tuple[int, bool, int]],
) -> None:
    record = AgentRecord()
    record.resume([], usage(0))
    spent, conversation = 0, 0

    for tokens, crash, kept in rounds:
        spent, conversation = spent + tokens, conversation + tokens
        record.count_usage(usage(conversation))
        if crash:  # The harness restores all, some or nothing of it.
            conversation = min(conversation, kept)
            record.resume([], usage(conversation))
            record.count_usage(usage(conversation))

        assert record.usage.total_token_count == spent


def test_a_turn_keeps_its_deadline_and_its_number_across_attempts() -> None:
    record = AgentRecord()
    first, second = (Envelope(Chat("hi"), ReplyFuture()) for _ in range(2))

    pending = record.take_up(first, 10.0, now=100.0)
    assert (pending.deadline, record.turns, record.knows(first)) == (110.0, 1, True)
    assert record.take_up(first, 10.0, now=105.0) is pending

    assert not record.knows(second)
    other = record.take_up(second, 10.0, now=106.0)
    assert (other.deadline, record.turns) == (116.0, 2)
    for envelope in (first, second):
        assert envelope.reply_to is not None
        envelope.reply_to.set(None)


@pytest.mark.own_processes
def test_every_ask_of_an_ended_agent_raises_that_it_is_dead(either: AgentRef) -> None:
    pid = pid_of(either)

    either.ask(Disconnect(), timeout=SOON)

    for message in (Chat("hi"), IsIdle(), Disconnect()):
        with pytest.raises(AgentDeadError, match="'either' has ended"):
            either.ask(message, timeout=SOON)
    assert not psutil.pid_exists(pid)
    either.stop()
    assert either.stop() is False


@pytest.mark.own_processes
def test_a_stop_while_the_agent_disconnects_is_answered_at_its_end(agent: AgentRef) -> None:
    pid = pid_of(agent)

    disconnected = agent.ask(Disconnect(), block=False)
    agent.stop(timeout=SOON)

    assert not psutil.pid_exists(pid)
    until(disconnected.done)


def test_a_deleted_conversation_is_gone_from_disk_and_a_disconnected_one_is_not(
    model: ScriptedModel, tmp_path: Path
) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        kept = supervisor.create_agent(model.openai_config(), name="kept")
        deleted = supervisor.create_agent(model.openai_config(), name="deleted")
        ids = [agent.ask(GetConversationId()) for agent in (kept, deleted)]
        for agent in (kept, deleted):
            agent.ask(Chat("hi"))
        assert [(tmp_path / f"{i}.db").exists() for i in ids] == [True, True]

        kept.ask(Disconnect())
        deleted.ask(Delete())

        assert [path.name for path in tmp_path.glob("*.db*")] == [f"{ids[0]}.db"]
        with pytest.raises(AgentDeadError):
            deleted.ask(Chat("hi"))


@pytest.mark.parametrize("end", quick([Delete(), Disconnect()], 0))
def test_an_agent_is_ended_while_it_is_renewed_after_an_error(
    supervisor: SupervisorRef, model: ScriptedModel, end: Delete | Disconnect
) -> None:
    for number in range(10):  # Most of the possible interleavings.
        agent = supervisor.create_agent(model.openai_config(), name=f"agent {number}")
        model.then(http_error(401))
        with pytest.raises(ModelError):
            agent.ask(Chat("hi"), timeout=PATIENCE)

        agent.ask(end, timeout=SOON)


def test_the_same_name_resumes_its_conversation_in_the_next_run(
    model: ScriptedModel, tmp_path: Path
) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        supervisor.create_agent(model.openai_config(), name="poet").ask(Chat("one"))

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        poet = supervisor.create_agent(model.openai_config(), name="poet")
        poet.ask(Chat("two"))

        assert poet.ask(GetTurnCount()) == 2
    assert model.requests[-1].messages == (
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "two"),
    )


def test_no_error_and_no_log_line_contains_the_api_key(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG", format="{message} {extra} {exception}")
    logger.enable("agy_actors")
    try:
        agent = supervisor.create_agent(model.gemini_config(api_key=KEY), name="keyed")
        errors = []
        for reply in (
            http_error(401, f"bad key {KEY}"),
            http_error(500, "x" * 470 + KEY),
            http_error(503, f"busy for {KEY}"),
        ):
            model.then(reply)
            with pytest.raises(ModelError) as caught:
                agent.ask(Chat("hi", timeout=1.0), timeout=PATIENCE)
            errors.append(caught.getrepr(style="native", chain=True))
        model.then(silence())
        future = agent.ask(Chat("hi"), block=False)
        model.wait_for_requests(4)
        kill_harness(agent)
        future.get(timeout=PATIENCE)
    finally:
        logger.disable("agy_actors")
        logger.remove(sink)

    assert any("Turn starts" in line for line in lines)
    for text in (*lines, *map(str, errors)):
        assert KEY[:8] not in text, text
    assert ["[redacted]" in str(error) for error in errors] == [True, True, True]


def test_agents_that_are_created_and_ended_repeatedly_leave_nothing_behind(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    def cycle() -> None:
        agent = supervisor.create_agent(model.openai_config())
        agent.ask(Chat("hi"))
        supervisor.shutdown_agent(agent)

    cycle()
    count: Callable[[], int] = psutil.Process().num_fds
    descriptors, threads = count(), threading.active_count()

    for _ in range(5):
        cycle()

    until(lambda: threading.active_count() <= threads)
    until(lambda: count() <= descriptors + 1)
