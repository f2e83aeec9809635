"""The decisions of sessions, without threads: one example for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors import AgentDeadError, AgentStartError, TurnTimeout
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.sessions_state import SessionsPhase
from tests.sessions.sessions_world import SessionsWorld

if TYPE_CHECKING:
    from agy_actors._supervision.pool_state import Turn


def ask_and_start(world: SessionsWorld, *keys: str) -> list[Turn]:
    """Ask sessions that sleep, and let their agents become ready."""
    turns = [world.ask(key) for key in keys]
    for key in keys:
        world.become_ready(key)
    return turns


def test_the_session_that_was_used_least_recently_makes_room() -> None:
    world = SessionsWorld(max_awake=2)
    ask_and_start(world, "a", "b")
    world.now = 1.0
    world.reply("b")
    world.now = 2.0
    world.reply("a")

    world.ask("c")

    assert world.agents["b"].state == "ending"
    assert world.agents["a"].state == "up"
    world.end("b")
    assert world.agents["c"].state == "starting"


def test_an_idle_agent_makes_room_for_each_session_that_waits_and_no_other() -> None:
    world = SessionsWorld(max_awake=3)
    ask_and_start(world, "a", "b", "c")
    for key in "abc":
        world.reply(key)

    world.ask("d")
    world.ask("d")

    assert world.in_state("ending") == ["a"]
    world.ask("e")
    assert world.in_state("ending") == ["a", "b"]


def test_a_busy_agent_makes_room_if_its_next_turn_came_after_that_of_a_session_that_waits() -> None:
    world = SessionsWorld(max_awake=1)
    ask_and_start(world, "a")
    before = world.ask("a")
    world.ask("b")
    world.ask("a")

    world.reply("a")

    assert world.agents["a"].turn is before
    world.reply("a")
    assert world.agents["a"].state == "ending"


def test_turns_that_wait_for_room_end_within_their_own_timeout() -> None:
    world = SessionsWorld(max_awake=1)
    ask_and_start(world, "a")
    short, long = world.ask("b", 5.0), world.ask("b", 50.0)
    question = world.ask("c", 5.0, question=True)
    behind = world.ask("a", 5.0)
    wake = world.request("wake", "b", 5.0)

    world.now = 4.9
    world.tell(steps.Ticked())
    assert not world.outcomes
    world.now = 5.0
    world.tell(steps.Ticked())

    assert set(world.outcomes) == {short, question}
    assert isinstance(world.outcomes[short], TurnTimeout)
    assert isinstance(world.errors[wake], TurnTimeout)
    assert "session 'b' did not wake within 5 seconds" in str(world.errors[wake])
    assert not world.answers[long]
    assert not world.answers[behind]


def test_the_time_of_a_turn_that_waits_counts_from_the_end_of_its_sessions_last_agent() -> None:
    world = SessionsWorld(max_awake=1)
    ask_and_start(world, "a")
    behind = world.ask("a", 5.0)
    world.now = 100.0

    world.go_down("a")
    world.now = 104.9
    world.tell(steps.Ticked())
    assert not world.answers[behind]
    world.now = 105.0
    world.tell(steps.Ticked())

    assert isinstance(world.outcomes[behind], TurnTimeout)


def test_idle_agents_end_after_the_idle_timeout_and_busy_ones_do_not() -> None:
    world = SessionsWorld(max_awake=3, idle_timeout=10.0)
    ask_and_start(world, "a", "b", "c")
    world.now = 50.0
    world.reply("a")
    world.reply("b", runs_on=True)
    world.now = 55.0
    world.free("b")

    for world.now in (59.9, 60.0):
        assert world.agents["a"].state == "up"
        world.tell(steps.Ticked())

    assert {key: agent.state for key, agent in world.agents.items()} == {
        "a": "ending",
        "b": "up",
        "c": "up",
    }
    world.now = 65.0
    world.tell(steps.Ticked())
    assert world.agents["b"].state == "ending"


def test_without_an_idle_timeout_no_agent_ends_for_idleness() -> None:
    world = SessionsWorld(idle_timeout=None)
    ask_and_start(world, "a")
    world.reply("a")

    world.now = 1e9
    world.tell(steps.Ticked())

    assert world.agents["a"].state == "up"


def test_a_session_falls_asleep_on_request_after_its_running_turn() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a")
    after = world.ask("a")
    sleep = world.request("sleep", "a")

    assert world.agents["a"].state == "up"
    world.reply("a")
    assert world.agents["a"].state == "ending"
    assert not world.settled[sleep]
    world.end("a")

    assert world.settled[sleep] == 1
    world.become_ready("a")
    assert world.agents["a"].turn is after
    asleep = world.request("sleep", "b")
    assert world.settled[asleep] == 1


def test_a_wake_is_answered_when_the_agent_is_ready_and_at_once_if_it_is() -> None:
    world = SessionsWorld()

    first = world.request("wake", "a")
    assert not world.settled[first]
    world.become_ready("a")
    second = world.request("wake", "a")

    assert world.settled == {first: 1, second: 1}
    assert world.errors == {first: None, second: None}


def test_a_delete_fails_what_waits_ends_the_agent_at_once_and_removes_the_files() -> None:
    world = SessionsWorld()
    [running] = ask_and_start(world, "a")
    waiting = world.ask("a")
    asked = world.ask("b")

    delete = world.request("delete", "a")

    assert isinstance(world.outcomes[waiting], AgentDeadError)
    assert world.agents["a"].state == "ending"
    after = world.ask("a")
    world.end("a")
    assert isinstance(world.outcomes[running], AgentDeadError)
    assert world.deleting == {"a"}
    assert not world.settled[delete]
    world.remove("a", "removed")
    assert (world.settled[delete], world.errors[delete]) == (1, None)
    world.become_ready("a")
    assert world.agents["a"].turn is after
    assert not world.answers[asked]


def test_a_delete_of_a_conversation_that_is_open_elsewhere_asks_for_it_first() -> None:
    world = SessionsWorld()
    delete = world.request("delete", "a")

    world.remove("a", "in use")

    assert world.owners_asked == {"a"}
    assert not world.settled[delete]
    world.release("a")
    assert world.deleting == {"a"}
    world.remove("a", "failed")
    assert isinstance(world.errors[delete], OSError)
    assert world.state.keys == {}


def test_a_start_that_fails_answers_all_that_waits_for_the_session_and_nothing_else() -> None:
    world = SessionsWorld(max_awake=1)
    turns = [world.ask("a"), world.ask("a", question=True)]
    wake = world.request("wake", "a")
    other = world.ask("b")

    world.fail_start("a")

    assert all(isinstance(world.outcomes[turn], AgentStartError) for turn in turns)
    assert isinstance(world.errors[wake], AgentStartError)
    assert not world.answers[other]
    assert list(world.agents) == ["b"]


def test_the_turns_of_a_session_whose_agent_ends_after_it_was_ready_get_another_agent() -> None:
    world = SessionsWorld()
    [running] = ask_and_start(world, "a")
    waiting = world.ask("a")

    world.end("a", error=AgentStartError("it has no restarts left"))

    assert isinstance(world.outcomes[running], AgentDeadError)
    assert not world.answers[waiting]
    world.become_ready("a")
    assert world.agents["a"].turn is waiting


def test_an_agent_that_restarts_keeps_its_turn_and_gets_no_other_meanwhile() -> None:
    world = SessionsWorld()
    [running] = ask_and_start(world, "a")
    waiting = world.ask("a")
    question = world.ask("a", question=True)
    assert world.agents["a"].questions == [question]
    world.answer_question("a")

    world.go_down("a")
    late = world.ask("a", question=True)

    assert world.agents["a"].turn is running
    assert world.agents["a"].questions == []
    world.become_ready("a")
    assert world.agents["a"].questions == [late]
    world.reply("a")
    assert world.agents["a"].turn is waiting


def test_a_turn_that_an_ended_agent_refuses_is_the_first_for_the_next_one() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a")
    world.reply("a")
    world.agents["a"].state = "closing"

    first, second = world.ask("a"), world.ask("a")
    world.end("a")
    world.become_ready("a")

    assert world.agents["a"].turn is first
    world.reply("a")
    assert world.agents["a"].turn is second


def test_a_conversation_that_is_open_elsewhere_is_asked_for_until_it_is_released() -> None:
    world = SessionsWorld()
    world.elsewhere.add("a")

    turn = world.ask("a")

    assert world.owners_asked == {"a"}
    assert list(world.state.elsewhere) == ["a"]
    assert not world.agents
    world.release("a")
    world.become_ready("a")
    assert world.agents["a"].turn is turn


def test_a_conversation_that_was_handed_over_is_left_to_the_other_program_for_a_while() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a")
    turn = world.ask("a")
    world.want("a")
    world.reply("a")
    assert world.agents["a"].state == "ending"
    world.end("a")
    assert not world.agents

    for world.now, starts in ((0.49, False), (0.5, True)):
        world.tell(steps.Released("a"))
        assert (list(world.agents) == ["a"]) == starts

    world.become_ready("a")
    assert world.agents["a"].turn is turn


def test_a_conversation_that_another_program_wants_has_one_turn_first_if_it_has_had_none() -> None:
    world = SessionsWorld()
    world.ask("a")
    world.ask("a")

    world.want("a")
    world.become_ready("a")

    assert world.agents["a"].turn is not None
    world.reply("a")
    assert world.agents["a"].state == "ending"


def test_an_idle_agent_is_ended_at_once_if_another_program_wants_its_conversation() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a", "b")
    world.reply("a")

    actions = world.want("a")

    assert actions == [steps.EndAgent("a", handed_over=True)]
    assert world.agents["b"].state == "up"


def test_a_request_of_another_program_that_was_withdrawn_closes_no_conversation() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a")
    world.want("a")

    world.want()
    world.reply("a")

    assert world.agents["a"].state == "up"


def test_sessions_that_end_withdraw_their_requests_to_other_programs() -> None:
    world = SessionsWorld()
    world.ask("a")
    world.find_in_use("a")
    assert world.elsewhere == {"a"}

    actions = world.tell(steps.Ending(drain=False))

    assert steps.StopAsking("a") in actions


def test_a_conversation_that_is_being_handed_over_is_left_to_the_other_program_all_the_same() -> (
    None
):
    world = SessionsWorld()
    ask_and_start(world, "a")
    world.ask("a")
    world.want("a")
    world.reply("a")

    world.want()  # The agent that ends has removed the request.
    world.end("a")

    assert not world.agents


def test_a_question_reaches_an_agent_that_has_a_turn_and_holds_back_no_turn() -> None:
    world = SessionsWorld()
    ask_and_start(world, "a")

    question = world.ask("a", question=True)
    world.reply("a")
    turn = world.ask("a")

    assert world.agents["a"].questions == [question]
    assert world.agents["a"].turn is turn


def test_an_agent_that_has_questions_is_ended_only_after_its_answers_or_one_second() -> None:
    for answers in (True, False):
        world = SessionsWorld()
        ask_and_start(world, "a")
        world.reply("a")
        world.ask("a", question=True)

        world.request("sleep", "a")
        assert world.agents["a"].state == "up"
        if answers:
            world.answer_question("a")
        else:
            world.now = 60.0
            world.tell(steps.Ticked())

        assert world.agents["a"].state == "ending"


def test_a_cancelled_turn_that_waits_is_removed_and_one_that_runs_occupies_its_agent() -> None:
    world = SessionsWorld()
    [running] = ask_and_start(world, "a")
    waiting, last = world.ask("a"), world.ask("a")

    for turn in (waiting, running):
        world.abandon(turn)
        world.report_cancelled(turn)

    assert list(world.state.turns) == [running, last]
    world.reply("a", runs_on=True)
    assert world.agents["a"].turn is None
    world.free("a")
    assert world.agents["a"].turn is last


def test_a_drain_gives_all_turns_to_agents_and_an_end_rejects_them() -> None:
    world = SessionsWorld(max_awake=1)
    [running] = ask_and_start(world, "a")
    waiting = [world.ask("a"), world.ask("b")]
    wake, sleep, delete = (world.request(kind, "b") for kind in ("wake", "sleep", "delete"))
    more = world.ask("b")

    world.tell(steps.Ending(drain=True))
    world.reply("a")
    assert world.agents["a"].turn is waiting[0]
    world.tell(steps.Ending(drain=False))

    assert world.state.phase is SessionsPhase.ENDED
    assert isinstance(world.outcomes[more], AgentDeadError)
    assert world.outcomes[running] == "reply"
    assert world.settled[wake] == world.settled[sleep] == world.settled[delete] == 1
    late = world.request("delete", "c")
    assert isinstance(world.errors[late], AgentDeadError)
    world.reply("a")
    world.end("a")
    assert not world.agents
