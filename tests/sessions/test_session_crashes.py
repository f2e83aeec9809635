"""Crashes of the processes of sessions with the real harness."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors import GetStatistics, RetryPolicy, TurnInterrupted
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, has_ended, until
from tests.sessions.session_programs import prompts_of, run, wait_until_asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import SessionRef, Sessions
    from agy_actors.testing import ScriptedModel


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


@pytest.fixture
def users(tmp_path: Path, model: ScriptedModel) -> Iterator[Sessions]:
    with run(tmp_path, model) as users:
        yield users


def harness_of(session: SessionRef) -> psutil.Process:
    pid = session.ask(GetStatistics(), timeout=PATIENCE).harness_pid
    assert pid is not None
    return psutil.Process(pid)


def kill(session: SessionRef) -> None:
    process = harness_of(session)
    process.send_signal(signal.SIGKILL)
    until(lambda: has_ended(process))


@pytest.mark.own_processes
def test_a_turn_is_tried_again_on_the_same_conversation_after_a_crash(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    users["ada"].ask("first")
    other = users["bob"].ask("hold on", block=False)
    wait_until_asked(model, "hold on")
    turn = users["ada"].ask("hold this", block=False)
    wait_until_asked(model, "hold this")

    kill(users["ada"])
    wait_until_asked(model, "hold this", 2)
    held.let_go()

    reply = turn.get(timeout=PATIENCE)
    assert (reply.text, reply.attempts) == ("held", 2)
    assert other.get(timeout=PATIENCE).attempts == 1
    assert "first" in str(model.requests[-1].messages)
    users["ada"].ask("next")
    assert prompts_of(users["ada"])[-1] == "next"
    assert prompts_of(users["bob"]) == ["hold on"]


@pytest.mark.own_processes
def test_a_session_that_crashes_too_often_fails_its_turn_and_no_other(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    retry = RetryPolicy(attempts=9)
    with run(tmp_path, model, max_restarts=1, within=60.0, retry=retry) as users:
        users["ada"].ask("first")
        users["bob"].ask("first")
        turn = users["ada"].ask("hold", block=False)

        for times in (1, 2):
            wait_until_asked(model, "hold", times)
            kill(users["ada"])

        with pytest.raises(TurnInterrupted, match="ada"):
            turn.get(timeout=PATIENCE)
        assert users["bob"].ask("second").text == "echo: second"
        held.let_go()
        assert users["ada"].ask("again", timeout=PATIENCE).text == "echo: again"
        assert prompts_of(users["ada"])[0] == "first"


@pytest.mark.own_processes
def test_a_crash_of_an_idle_session_is_not_seen(users: Sessions) -> None:
    users["ada"].ask("first")

    kill(users["ada"])

    assert users["ada"].ask("second", timeout=PATIENCE).text == "echo: second"
    assert prompts_of(users["ada"]) == ["first", "second"]
