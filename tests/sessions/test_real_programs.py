"""Several programs with the real harness share a folder of sessions."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    Chat,
    Event,
    SessionHandedOver,
    Supervisor,
    TurnTimeout,
)
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, SOON, suspend, until
from tests.sessions.session_programs import (
    Program,
    ProgramDied,
    ProgramError,
    files_of,
    prompts_of,
    run,
    wait_until_asked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors.testing import ScriptedModel


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


def test_an_idle_conversation_moves_to_the_program_that_is_asked_for_it(
    tmp_path: Path, model: ScriptedModel
) -> None:
    events: list[Event] = []
    with Supervisor.start(state_dir=tmp_path) as supervisor, Program(tmp_path, model) as other:
        supervisor.subscribe(events.append)
        users = supervisor.create_sessions(model.openai_config(), name="users")
        for number in range(2):
            assert users["ada"].ask(f"here {number}").text == f"echo: here {number}"
            there = other.do("ask", key="ada", prompt=f"there {number}")
            assert there == f"echo: there {number}"

        assert prompts_of(users["ada"]) == ["here 0", "there 0", "here 1", "there 1"]
        assert users.statistics().handed_over == 2
        assert [e.key for e in events if isinstance(e, SessionHandedOver)] == ["ada"] * 2
        assert other.do("list_events") == [["SessionWoke", "ada"], ["SessionHandedOver", "ada"]] * 2
        info = users.info("ada")
        assert info is not None
        assert info.turns == 4
    assert files_of(tmp_path, "ada") == {".tar.xz"}


def test_a_busy_conversation_moves_after_its_turn(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        users["ada"].ask("first")
        here = users["ada"].ask("hold", block=False)
        wait_until_asked(model, "hold")
        after = users["ada"].ask("after", block=False)
        there = other.send("ask", key="ada", prompt="there")
        other.do("ask", key="bob", prompt="others are not delayed")
        assert not there.done()

        held.let_go()

        assert here.get(timeout=PATIENCE).attempts == 1
        assert after.get(timeout=PATIENCE).text == "echo: after"
        assert there.result(PATIENCE) == "echo: there"
        prompts = prompts_of(users["ada"])
        assert prompts[:2] == ["first", "hold"]
        assert sorted(prompts[2:]) == ["after", "there"]


def test_a_program_that_is_killed_frees_its_conversations_at_once(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        for key in ("ada", "bob"):
            other.do("ask", key=key, prompt=f"{key} first")
        lost = other.send("ask", key="bob", prompt="hold")
        wait_until_asked(model, "hold")

        other.kill()

        with pytest.raises(ProgramDied):
            lost.result(PATIENCE)
        for key in ("ada", "bob"):
            assert users[key].ask(Chat("second", timeout=5.0)).text == "echo: second"
            prompts = prompts_of(users[key])
            assert (prompts[0], prompts[-1]) == (f"{key} first", "second")
    assert files_of(tmp_path, "ada") == files_of(tmp_path, "bob") == {".tar.xz"}


@pytest.mark.slow
def test_a_program_that_is_killed_while_another_waits_frees_the_conversation(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        other.send("ask", key="ada", prompt="hold")
        wait_until_asked(model, "hold")
        turn = users["ada"].ask("mine", block=False)
        until(lambda: users.statistics().elsewhere == 1)

        other.kill()

        assert turn.get(timeout=PATIENCE).text == "echo: mine"


def test_a_turn_that_waits_too_long_for_another_program_gets_an_error_and_nothing_is_stuck(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with (
        run(tmp_path, model) as users,
        Program(tmp_path, model) as owner,
        Program(tmp_path, model) as third,
    ):
        turn = owner.send("ask", key="ada", prompt="hold")
        wait_until_asked(model, "hold")

        with pytest.raises(TurnTimeout, match=r"'ada'.*another program has its conversation open"):
            users["ada"].ask(Chat("mine", timeout=0.3), timeout=PATIENCE)
        with pytest.raises(ProgramError) as caught:
            third.send("ask", key="ada", prompt="third", timeout=0.3).result(PATIENCE)
        assert caught.value.kind == "TurnTimeout"
        until(lambda: users.statistics().elsewhere == 0)

        held.let_go()
        assert turn.result(PATIENCE) == "held"
        assert third.do("ask", key="ada", prompt="second") == "echo: second"
        assert users["ada"].ask("third").text == "echo: third"
        assert owner.do("ask", key="ada", prompt="fourth") == "echo: fourth"
        assert prompts_of(users["ada"]) == ["hold", "second", "third", "fourth"]


@pytest.mark.slow
def test_sleep_wake_and_delete_concern_the_conversation_of_another_program(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        other.do("ask", key="ada", prompt="first")
        assert list(users) == ["ada"]
        users.sleep("ada")  # It is awake in the other program only.
        users.wake("ada")
        assert other.do("list_events")[-1] == ["SessionHandedOver", "ada"]
        turn = other.send("ask", key="ada", prompt="hold")
        wait_until_asked(model, "hold")
        with pytest.raises(AskTimeout):
            users.delete("ada", timeout=0.3)

        held.let_go()
        assert turn.result(PATIENCE) == "held"
        until(lambda: "ada" not in users)
        assert files_of(tmp_path, "ada") == set()
        assert files_of(tmp_path, "ada") == set()
        assert other.do("ask", key="ada", prompt="new") == "echo: new"
        assert prompts_of(users["ada"]) == ["new"]


@pytest.mark.slow
def test_a_program_that_is_suspended_delays_only_its_own_conversations(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        other.do("ask", key="ada", prompt="first")
        suspend(other.pid)
        try:
            with pytest.raises(TurnTimeout, match=r"'ada'.*another program"):
                users["ada"].ask(Chat("mine", timeout=0.3), timeout=PATIENCE)
            assert users["bob"].ask("not delayed").text == "echo: not delayed"
            turn = users["ada"].ask("second", block=False)
            until(lambda: users.statistics().elsewhere == 1)
        finally:
            os.kill(other.pid, signal.SIGCONT)

        assert turn.get(timeout=PATIENCE).text == "echo: second"
        assert other.do("ask", key="ada", prompt="third") == "echo: third"
        assert prompts_of(users["ada"]) == ["first", "second", "third"]


@pytest.mark.slow
def test_sessions_that_stop_fail_the_turns_that_wait_for_another_program(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as other:
        with run(tmp_path, model) as users:
            there = other.send("ask", key="ada", prompt="hold")
            wait_until_asked(model, "hold")
            turn = users["ada"].ask("mine", block=False)
            until(lambda: users.statistics().elsewhere == 1)

        with pytest.raises(AgentDeadError):
            turn.get(timeout=SOON)
        held.let_go()
        assert there.result(PATIENCE) == "held"
        assert other.do("ask", key="ada", prompt="second") == "echo: second"
        assert other.do("list_events") == [["SessionWoke", "ada"]]


@pytest.mark.slow
def test_many_turns_of_one_conversation_in_three_programs_are_all_in_it_once(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with (
        run(tmp_path, model) as users,
        Program(tmp_path, model) as second,
        Program(tmp_path, model) as third,
    ):
        prompts = [f"turn {number}" for number in range(24)]
        turns = [
            (second, third)[number % 2].send("ask", key="ada", prompt=prompt)
            for number, prompt in enumerate(prompts)
        ]
        mine = [users["ada"].ask(f"mine {number}", block=False) for number in range(12)]

        assert [turn.result(60) for turn in turns] == [f"echo: {prompt}" for prompt in prompts]
        for turn in mine:
            turn.get(timeout=60)
        expected = [*prompts, *(f"mine {number}" for number in range(12))]
        found = prompts_of(users["ada"])
        assert sorted(found) == sorted(expected)
        assert [p for p in found if p.startswith("mine")] == expected[24:]
