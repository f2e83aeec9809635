"""Sessions with the real harness whose tools ask sessions, and sessions that end during turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentDeadError, Chat, DeadlockError, GetStatistics, Supervisor, TurnCancelled
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, SOON, until
from tests.sessions.session_programs import files_of, prompts_of, run, wait_until_asked
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agy_actors import Sessions


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


class Tool:
    """A tool that uses the sessions, and keeps the result."""

    def __init__(self) -> None:
        self.users: Any = None
        self.use: Callable[[Sessions], object] = lambda users: None
        self.results: list[object] = []

    def function(self) -> Callable[[], str]:
        def act() -> str:
            """Do it."""
            try:
                self.results.append(self.use(self.users))
            except Exception as error:  # noqa: BLE001 (compared by the test)
                self.results.append(type(error))
            return "done"

        return act


@pytest.fixture
def tool(model: ScriptedModel) -> Tool:
    model.when("use it", call_tool("act"), say("used"))
    return Tool()


def use_in_turn(
    folder: Path, model: ScriptedModel, tool: Tool, max_awake: int, timeout: float = PATIENCE
) -> object:
    config = model.openai_config(tools=[tool.function()])
    with run(folder, model, config, max_awake=max_awake) as users:
        tool.users = users
        users["ada"].ask(Chat("use it", timeout=timeout), timeout=PATIENCE)
    (result,) = tool.results
    return result


def test_a_tool_asks_another_session(tmp_path: Path, model: ScriptedModel, tool: Tool) -> None:
    tool.use = lambda users: users["bob"].ask("nested").text

    assert use_in_turn(tmp_path, model, tool, max_awake=2) == "echo: nested"


@pytest.mark.parametrize("max_awake", quick([1, 2], 0))
def test_a_tool_that_asks_its_own_session_gets_a_deadlock_error(
    tmp_path: Path, model: ScriptedModel, tool: Tool, max_awake: int
) -> None:
    tool.use = lambda users: users["ada"].ask(Chat("nested", timeout=PATIENCE)).text

    assert use_in_turn(tmp_path, model, tool, max_awake) is DeadlockError


def test_a_tool_that_asks_a_session_for_which_only_its_own_could_make_room_gets_a_deadlock_error(
    tmp_path: Path, model: ScriptedModel, tool: Tool
) -> None:
    tool.use = lambda users: users["bob"].ask(Chat("nested", timeout=PATIENCE)).text

    assert use_in_turn(tmp_path, model, tool, max_awake=1) is DeadlockError


def test_a_tool_asks_its_own_session_for_statistics(
    tmp_path: Path, model: ScriptedModel, tool: Tool
) -> None:
    tool.use = lambda users: users["ada"].ask(GetStatistics(), timeout=SOON).name

    assert use_in_turn(tmp_path, model, tool, max_awake=1) == "ada"


def test_a_tool_deletes_another_session_and_lists_all(
    tmp_path: Path, model: ScriptedModel, tool: Tool
) -> None:
    def use(users: Sessions) -> object:
        users["bob"].ask("nested")
        return list(users), users.delete("bob", timeout=SOON), list(users)

    tool.use = use

    assert use_in_turn(tmp_path, model, tool, max_awake=2) == (["ada", "bob"], True, ["ada"])


# Ends during turns.


def test_a_delete_cancels_the_running_turn_and_fails_those_that_wait(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users:
        running = users["ada"].ask("hold", block=False)
        wait_until_asked(model, "hold")
        waiting = users["ada"].ask("next", block=False)
        until(lambda: users.statistics().waiting == 1)

        assert users.delete("ada", timeout=PATIENCE)

        for turn in (running, waiting):
            with pytest.raises((AgentDeadError, TurnCancelled), match="ada"):
                turn.get(timeout=SOON)
        assert files_of(tmp_path, "ada") == set()
        held.let_go()
        assert users["ada"].ask("new", timeout=PATIENCE).text == "echo: new"
        assert prompts_of(users["ada"]) == ["new"]


def test_sleep_waits_for_the_running_turn_and_the_next_one_wakes_the_session(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users:
        turns = [users["ada"].ask("hold", block=False)]
        wait_until_asked(model, "hold")
        turns.append(users["ada"].ask("next", block=False))
        until(lambda: users.statistics().waiting == 1)
        sleeping = users.sleep("ada", block=False)
        assert users.statistics().slept == 0

        held.let_go()

        sleeping.get(timeout=PATIENCE)
        assert [turn.get(timeout=PATIENCE).text for turn in turns] == ["held", "echo: next"]
        assert prompts_of(users["ada"]) == ["hold", "next"]


def test_sessions_that_are_drained_answer_all_turns(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        users = supervisor.create_sessions(model.openai_config(), name="users", max_awake=1)
        turns = [users["ada"].ask("hold", block=False)]
        wait_until_asked(model, "hold")
        turns += [users[key].ask("next", block=False) for key in ("ada", "bob", "carl")]
        until(lambda: users.statistics().waiting == 3)
        stopping = users.shutdown(drain=True, block=False)
        held.let_go()
        stopping.get(timeout=PATIENCE)

        texts = [turn.get(timeout=SOON).text for turn in turns]
        assert texts == ["held", *["echo: next"] * 3]
        with pytest.raises(AgentDeadError):
            users["ada"].ask("late")


def test_sessions_that_stop_end_their_turns_and_keep_their_conversations(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users:
        users["ada"].ask("first")
        turn = users["ada"].ask("hold", block=False)
        wait_until_asked(model, "hold")
        waiting = users["bob"].ask("hold too", block=False)

    for reply in (turn, waiting):
        with pytest.raises((AgentDeadError, TurnCancelled)):
            reply.get(timeout=SOON)
    with pytest.raises(AgentDeadError):
        users["ada"].ask("late")
    with pytest.raises(AgentDeadError):
        users.info("ada")
    held.let_go()
    with run(tmp_path, model) as again:
        again["ada"].ask("second")
        prompts = prompts_of(again["ada"])
        assert (prompts[0], prompts[-1]) == ("first", "second")
