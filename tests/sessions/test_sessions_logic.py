"""The decisions of sessions, without threads, in drawn histories of events."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import AgentDeadError, AgentStartError, ModelError
from agy_actors._sessions import sessions_steps as steps
from tests.sessions.sessions_world import SessionsWorld
from tests.simulation.effort import times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HISTORIES = times(1500)
"""Drawn histories of each property, in the default suite."""


def _pick(candidates: Iterable[Any], number: int) -> list[Any]:
    found = list(candidates)
    return [found[number % len(found)]] if found else []


def _busy(world: SessionsWorld) -> list[str]:
    return [key for key, agent in world.agents.items() if agent.turn is not None]


def _key(number: int) -> str:
    return "abcde"[number % 5]


def _ask(world: SessionsWorld, number: int) -> None:
    world.ask(_key(number), 1.0 if number % 7 == 0 else 100.0)


def _ask_question(world: SessionsWorld, number: int) -> None:
    world.ask(_key(number), 1.0 if number % 7 == 0 else 100.0, question=True)


def _become_ready(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.in_state("starting", "down"), number):
        world.become_ready(key)


def _go_down(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.in_state("up"), number):
        world.go_down(key)


def _hang(world: SessionsWorld, number: int) -> None:
    for key in _pick([key for key in _busy(world) if world.agents[key].state == "up"], number):
        world.hang(key)


def _fail_start(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.in_state("starting", "down"), number):
        world.fail_start(key)


def _find_in_use(world: SessionsWorld, number: int) -> None:
    fresh = [k for k in world.in_state("starting") if not world.agents[k].was_up]
    for key in _pick(fresh, number):
        world.find_in_use(key)


def _close_silently(world: SessionsWorld, number: int) -> None:
    """Let an agent end by itself, which the sessions learn when they give it a turn."""
    for key in _pick(world.in_state("up"), number):
        if world.agents[key].turn is None:
            world.agents[key].state = "closing"


def _end(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.in_state("ending", "closing"), number):
        world.end(key, late=number % 2 == 0)


def _die(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.agents, number):
        error = AgentStartError("it has no restarts left") if number % 3 == 0 else None
        world.end(key, error=error, late=number % 2 == 0)


def _reply(world: SessionsWorld, number: int) -> None:
    for key in _pick(_busy(world), number):
        error = ModelError("refused") if number % 5 == 0 else None
        world.reply(key, error=error, runs_on=number % 3 == 0)


def _reply_early(world: SessionsWorld, number: int) -> None:
    for key in _pick(_busy(world), number):
        world.reply_early(key)


def _free(world: SessionsWorld, number: int) -> None:
    for key in _pick([key for key, agent in world.agents.items() if agent.runs_on], number):
        world.free(key)


def _answer_question(world: SessionsWorld, number: int) -> None:
    for key in _pick([key for key, agent in world.agents.items() if agent.questions], number):
        world.answer_question(key)


def _abandon(world: SessionsWorld, number: int) -> None:
    for turn in _pick(world.state.turns, number):
        world.abandon(turn)


def _cancel(world: SessionsWorld, number: int) -> None:
    for turn in _pick(sorted(world.abandoned, key=world.asked.index), number):
        world.report_cancelled(turn)


def _want(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.agents, number):
        world.want(key)


def _take_elsewhere(world: SessionsWorld, number: int) -> None:
    """Let another program open a conversation."""
    if _key(number) not in {*world.agents, *world.deleting}:
        world.elsewhere.add(_key(number))


def _release(world: SessionsWorld, number: int) -> None:
    for key in _pick(world.state.elsewhere, number):
        world.release(key)


def _remove(world: SessionsWorld, number: int) -> None:
    for key in _pick(sorted(world.deleting), number):
        world.remove(key, ("removed", "removed", "in use", "failed")[number % 4])


def _wake(world: SessionsWorld, number: int) -> None:
    world.request("wake", _key(number), 1.0 if number % 2 else 100.0)


def _sleep(world: SessionsWorld, number: int) -> None:
    world.request("sleep", _key(number))


def _delete(world: SessionsWorld, number: int) -> None:
    world.request("delete", _key(number))


def _break_config(world: SessionsWorld, number: int) -> None:
    world.unmakeable ^= {_key(number)}


def _wait(world: SessionsWorld, number: int) -> None:
    world.now += (0.1, 1.0, 10.0, 1000.0)[number % 4]
    world.tell(steps.Ticked())


def _drain(world: SessionsWorld, number: int) -> None:
    if number % 8 == 0:
        world.tell(steps.Ending(drain=True))


STEPS: list[Callable[[SessionsWorld, int], None]] = [
    _ask,
    _ask,
    _ask,
    _ask,
    _ask_question,
    _become_ready,
    _become_ready,
    _become_ready,
    _abandon,
    _answer_question,
    _break_config,
    _cancel,
    _close_silently,
    _delete,
    _die,
    _drain,
    _end,
    _end,
    _fail_start,
    _find_in_use,
    _free,
    _go_down,
    _hang,
    _release,
    _remove,
    _reply,
    _reply,
    _reply,
    _reply_early,
    _sleep,
    _take_elsewhere,
    _wait,
    _wake,
    _want,
]

HISTORY = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 31)), max_size=50)
PROPERTY = hypothesis.settings(
    max_examples=HISTORIES,
    deadline=None,
    print_blob=False,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


def drawn(max_awake: int, history: list[Any]) -> SessionsWorld:
    """Return sessions after a history."""
    world = SessionsWorld(max_awake)
    for step, number in history:
        step(world, number)
    return world


def let_finish(world: SessionsWorld) -> None:
    """Let everything succeed from now on, until nothing is left to do."""
    world.unmakeable.clear()
    for _ in range(200):
        if is_done(world):
            break
        for turn in sorted(world.abandoned, key=world.asked.index):
            world.report_cancelled(turn)
        world.abandoned.clear()
        for step in (_become_ready, _reply, _free, _answer_question, _end, _release):
            for number in range(1, 12, 3):  # The replies succeed, and so on.
                step(world, number)
        for key in sorted(world.deleting):
            world.remove(key, "removed")
        world.now += 0.1
        world.tell(steps.Ticked())
    else:
        pytest.fail(f"it goes on for ever: {world.state}")


def is_done(world: SessionsWorld) -> bool:
    return (
        not world.state.turns
        and len(world.settled) == len(world.requests)
        and not world.in_state("starting", "down", "ending", "closing")
        and not any(agent.turn or agent.runs_on for agent in world.agents.values())
        and not world.deleting
        and not world.state.elsewhere
        and not world.abandoned
    )


def check_answers(world: SessionsWorld) -> None:
    assert [world.answers[turn] for turn in world.asked] == [1] * len(world.asked)
    assert [world.settled[request] for request in world.requests] == [1] * len(world.requests)


@PROPERTY
@given(max_awake=st.integers(1, 4), history=HISTORY)
def test_sessions_answer_everything_once_and_keep_nothing_when_all_sleep(
    max_awake: int, history: list[Any]
) -> None:
    world = drawn(max_awake, history)

    let_finish(world)

    check_answers(world)
    for key in list(world.agents):
        world.request("sleep", key)
        world.end(key)
    assert world.state.keys == {}
    assert world.state.awake == world.state.ending == world.state.waiting == 0
    check_answers(world)


@PROPERTY
@given(max_awake=st.integers(1, 4), history=HISTORY)
def test_sessions_that_end_at_any_moment_answer_all(max_awake: int, history: list[Any]) -> None:
    world = drawn(max_awake, history)

    world.tell(steps.Ending(drain=False))
    for key in list(world.agents):
        world.end(key)
    world.tell(steps.Ended())

    check_answers(world)
    late = world.ask("late")
    assert isinstance(world.outcomes[late], AgentDeadError)
    assert not world.agents


# Progress.


def let_each_agent_step(world: SessionsWorld) -> None:
    """Let each agent, each removal and the other programs take one step."""
    for key, agent in list(world.agents.items()):
        match agent.state:
            case "starting" | "down":
                world.become_ready(key)
            case "ending" | "closing":
                world.end(key)
            case _ if agent.runs_on:
                world.free(key)
            case _ if agent.turn is not None:
                world.reply(key)
            case _ if agent.questions:
                world.answer_question(key)
    for key in sorted(world.deleting):
        world.remove(key, "removed")
    for key in list(world.state.elsewhere):
        world.release(key)
    world.now += 0.1
    world.tell(steps.Ticked())


@PROPERTY
@given(
    max_awake=st.integers(1, 3),
    history=HISTORY,
    others=st.lists(st.integers(0, 31), min_size=1, max_size=5),
    wanted=st.booleans(),
)
def test_no_turn_waits_for_ever_while_other_sessions_get_ever_more_turns(
    max_awake: int, history: list[Any], others: list[int], *, wanted: bool
) -> None:
    world = drawn(max_awake, [step for step in history if step[0] is not _drain])
    world.unmakeable.clear()

    turn = world.ask("a", math.inf)
    older = len(world.state.turns)
    for number in range(12 * (older + max_awake + 3)):
        if turn not in world.state.turns or turn in world.begun["a"]:
            break
        world.ask("bcdef"[others[number % len(others)] % 5], 1000.0)
        if wanted and "a" in world.agents:
            world.want("a")
        let_each_agent_step(world)

    assert turn in world.begun["a"]


@PROPERTY
@given(max_awake=st.integers(1, 3), history=HISTORY, number=st.integers(0, 2))
def test_a_conversation_that_another_program_asks_for_is_closed_after_at_most_one_turn(
    max_awake: int, history: list[Any], number: int
) -> None:
    world = drawn(max_awake, history)
    world.unmakeable.clear()
    let_each_agent_step(world)
    for key in _pick(world.agents, number):
        agent = world.agents[key]
        asked = [world.ask(key) for _ in range(3)]

        world.want(key)
        for _ in range(20):
            if world.agents.get(key) is not agent:
                break
            let_each_agent_step(world)

        # `SessionsWorld` counts the turns that the agent gets meanwhile.
        assert world.agents.get(key) is not agent
        assert all(turn in world.state.turns or world.answers[turn] for turn in asked)
