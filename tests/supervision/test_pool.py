"""Pools of real agents. The choice of members is in test_routing."""

from __future__ import annotations

import threading
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    AskTimeout,
    Backoff,
    Chat,
    DeadlockError,
    Disconnect,
    GetActiveAgentCount,
    GetConversationId,
    GetStatistics,
    InvalidConfig,
    IsIdle,
    MailboxFull,
    ModelError,
    PoolRef,
    Routing,
    Send,
    Supervisor,
    WaitForIdle,
    watch,
)
from agy_actors.testing import ScriptedModel, call_tool, http_error, say
from tests.harnesses import FAILS, PATIENCE, children, fake_harness, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import AgentRef, ReplyFuture, SupervisorRef


def held(model: ScriptedModel) -> threading.Event:
    """Let the model hold its answers to `held` until the event is set."""
    gate = threading.Event()
    model.when("held", say("held: done", gate=gate))
    return gate


def ask_held(pool: PoolRef, model: ScriptedModel, number: int) -> list[ReplyFuture[Any]]:
    before = len(model.requests)
    replies = [pool.ask(Chat("held"), block=False) for _ in range(number)]
    model.wait_for_requests(before + min(number, pool.statistics().size))
    return replies


# Asking


def test_a_pool_answers_like_an_agent(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2, "poets")

    assert pool.ask(Chat("one"), timeout=PATIENCE).text == "echo: one"
    assert pool.ask(Chat("two"), block=False).get(timeout=PATIENCE).text == "echo: two"
    with pool.stream("three four") as stream:
        assert "".join(stream) == stream.result().text == "echo: three four"
    pool.tell(Send("told"))
    until(lambda: "told" in [request.prompt for request in model.requests])
    assert supervisor.pools() == {"poets": pool}
    assert supervisor.ask(GetActiveAgentCount()) == 2


def test_as_many_turns_run_at_once_as_there_are_members(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 3)

    replies = ask_held(pool, model, 5)

    statistics = pool.statistics()
    assert (statistics.size, statistics.busy, statistics.waiting) == (3, 3, 2)
    assert len(model.requests) == 3
    gate.set()
    assert [reply.get(timeout=PATIENCE).text for reply in replies] == ["held: done"] * 5


def test_an_error_goes_only_to_its_asker(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2)
    model.when("wrong", http_error(400))

    wrong = pool.ask(Chat("wrong"), block=False)

    assert pool.ask(Chat("right"), timeout=PATIENCE).text == "echo: right"
    with pytest.raises(ModelError):
        wrong.get(timeout=PATIENCE)
    assert [reply.text for reply in pool.map("abc")] == ["echo: a", "echo: b", "echo: c"]


def test_an_ask_that_is_abandoned_frees_its_member(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 1)

    with pytest.raises(AskTimeout):
        pool.ask(Chat("held"), timeout=0.5)
    waiting = pool.ask(Chat("held"), block=False)
    assert waiting.cancel()

    assert pool.ask(Chat("next"), timeout=PATIENCE).text == "echo: next"
    until(lambda: pool.statistics().busy == 0)
    gate.set()


def test_a_full_pool_refuses_more(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 1, capacity=2)
    replies = ask_held(pool, model, 1)
    replies += [pool.ask(Chat("held"), block=False) for _ in range(2)]

    with pytest.raises(MailboxFull, match="has 2 messages waiting"):
        pool.ask(Chat("held"))

    gate.set()
    assert all(reply.get(timeout=PATIENCE) for reply in replies)


def test_an_unknown_message_to_a_pool_is_an_error(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 1)

    said = r"pool 'pool-1' does not answer IsIdle; it answers .*Resize"
    with pytest.raises(TypeError, match=said):
        pool.ask(IsIdle())


# Routings


def test_by_round_robin_members_take_turns(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    pool = supervisor.create_pool(
        model.openai_config(), 3, routing=Routing.ROUND_ROBIN, keep_conversation=True
    )
    expected = [member.ask(GetConversationId()) for member in pool.members()]

    served = [pool.ask(Chat("hi"), timeout=PATIENCE).conversation_id for _ in range(6)]

    assert served == expected * 2


def test_by_consistent_hash_a_conversation_stays_with_its_agent(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 3, routing=Routing.CONSISTENT_HASH)

    served = {
        key: {pool.ask(Chat("hi"), key=key, timeout=PATIENCE).conversation_id for _ in range(3)}
        for key in "abcdef"
    }

    assert all(len(ids) == 1 for ids in served.values())
    assert len(set.union(*served.values())) > 1
    with pytest.raises(InvalidConfig, match="ask with key="):
        pool.ask(Chat("hi"))


def test_a_broadcast_is_answered_by_all_members(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 3, routing=Routing.BROADCAST)
    expected = [member.ask(GetConversationId()) for member in pool.members()]

    replies = pool.broadcast(Chat("all"), timeout=PATIENCE)

    assert [reply.conversation_id for reply in replies] == expected
    assert {reply.text for reply in replies} == {"echo: all"}


def test_a_broadcast_that_fails_at_one_member_fails(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 3, routing=Routing.BROADCAST)
    model.when("all", http_error(400), times=1)

    with pytest.raises(ModelError):
        pool.broadcast(Chat("all"), timeout=PATIENCE)

    assert len(pool.broadcast(Chat("again"), timeout=PATIENCE)) == 3


# Many prompts


def test_map_yields_the_replies_in_the_order_of_the_prompts(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 3)
    prompts = [f"prompt {number}" for number in range(30)]

    texts = [reply.text for reply in pool.map(prompts)]

    assert texts == [f"echo: {prompt}" for prompt in prompts]


def test_map_takes_only_as_many_prompts_from_an_endless_iterable_as_fit(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2)
    taken = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        for number in count():
            taken += 1
            yield str(number)

    first = list(islice(pool.map(prompts(), in_flight=3), 5))

    assert [reply.text for reply in first] == [f"echo: {number}" for number in range(5)]
    assert taken <= 5 + 3
    until(lambda: pool.statistics().busy == pool.statistics().waiting == 0)


def test_map_raises_a_prompts_error_in_its_place_or_yields_it(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pool = supervisor.create_pool(model.openai_config(), 2)
    model.when("b", http_error(400))

    replies = pool.map("abc")
    assert next(replies).text == "echo: a"
    with pytest.raises(ModelError):
        next(replies)

    kept: list[Any] = list(pool.map("abc", return_exceptions=True))
    assert [getattr(reply, "text", type(reply)) for reply in kept[::2]] == ["echo: a", "echo: c"]
    assert isinstance(kept[1], ModelError)


def test_as_completed_yields_the_first_done_reply_first(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 2)

    found = pool.as_completed(["held", "a", "b"])
    first, second = next(found), next(found)
    gate.set()
    last = next(found)

    assert [first.get().text, second.get().text] == ["echo: a", "echo: b"]
    assert last.message == Chat("held")
    assert list(found) == []


# Members that die


def test_the_turn_of_a_member_that_crashes_is_answered_and_the_pool_keeps_its_size(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 2)
    replies = ask_held(pool, model, 4)

    kill_harness(pool.members()[0])
    gate.set()

    assert [reply.get(timeout=PATIENCE).text for reply in replies] == ["held: done"] * 4
    assert pool.statistics().size == 2
    assert len(pool.members()) == 2


@pytest.mark.parametrize("end", ["crash", "disconnect"])
@pytest.mark.own_processes
def test_a_member_of_a_pool_ends(supervisor: SupervisorRef, model: ScriptedModel, end: str) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 2, max_restarts=0, within=1.0)
    replies = ask_held(pool, model, 4)
    lost = pool.members()[0]

    if end == "crash":
        kill_harness(lost)
    else:
        lost.ask(Disconnect())
    gate.set()

    assert [reply.get(timeout=PATIENCE).text for reply in replies] == ["held: done"] * 4
    until(lambda: len(pool.members()) == 2)
    assert lost not in pool.members()
    assert not lost.is_alive()
    assert pool.statistics().replaced == 1


@pytest.mark.parametrize("count", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_prompts_are_answered_in_order_while_members_are_killed(count: int) -> None:
    prompts = [f"prompt {number}" for number in range(count)]
    with (
        ScriptedModel() as model,
        Supervisor.start(backoff=Backoff(wait=lambda _: 0.0)) as supervisor,
    ):
        pool = supervisor.create_pool(model.openai_config(), 4)
        texts = []
        for number, reply in enumerate(pool.map(prompts)):
            texts.append(reply.text)
            if number % 20 == 10:
                members = pool.members()
                kill_harness(members[number // 20 % len(members)])

        assert texts == [f"echo: {prompt}" for prompt in prompts]
        assert pool.statistics().size == 4


def test_a_pool_whose_members_always_crash_fails_with_the_reason(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supervisor.start(max_restarts=0, backoff=Backoff(wait=lambda _: 0.0)) as supervisor:
        pool = supervisor.create_pool(model.openai_config(), 2, max_restarts=0, within=60.0)
        end = watch(pool)
        for name, value in fake_harness(tmp_path, FAILS).items():
            monkeypatch.setenv(name, value)
        kill_harness(pool.members()[0])

        end.get(timeout=PATIENCE)

        with pytest.raises(AgentDeadError, match="members had to be replaced within 60 s"):
            pool.ask(Chat("hi"))
        assert supervisor.pools() == {}


@pytest.mark.new_processes
def test_a_pool_that_does_not_start_leaves_nothing_behind(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, FAILS))

    with pytest.raises(AgentStartError, match="no such luck"):
        supervisor.create_pool(config, 3, "poets")

    until(lambda: not children())
    assert supervisor.pools() == {}


def test_members_whose_tools_ask_their_own_pool_do_not_wait_for_themselves(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    pools: list[PoolRef] = []

    def consult() -> str:
        """Ask a colleague."""
        try:
            return pools[0].ask(Chat("colleague"), timeout=PATIENCE).text
        except DeadlockError as error:
            return f"no colleague: {type(error).__name__}"

    model.when("colleague", say("here I am"))
    for size, expected in ((2, "here I am"), (1, "no colleague: DeadlockError")):
        prompt = f"consult {size}"
        model.when(prompt, call_tool("consult"), say(lambda r: r.tool_results[-1].output))
        pools[:] = [supervisor.create_pool(model.openai_config(tools=[consult]), size)]

        reply = pools[0].ask(Chat(prompt), timeout=PATIENCE)

        assert expected in reply.text


# Size


# In the first, turns wait for any free member; in the second, each waits for one member.
@pytest.mark.new_processes
@pytest.mark.parametrize("routing", [Routing.SHORTEST_QUEUE, Routing.ROUND_ROBIN])
def test_a_pool_grows_and_shrinks_while_it_works(
    supervisor: SupervisorRef, model: ScriptedModel, routing: Routing
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 2, routing=routing)
    replies = ask_held(pool, model, 4)

    pool.resize(4, timeout=PATIENCE)
    replies += [pool.ask(Chat("held"), block=False) for _ in range(8)]
    model.wait_for_requests(4)
    until(lambda: pool.statistics().waiting == 8)
    if routing is Routing.ROUND_ROBIN:
        until(lambda: not pool.actor_inbox.turns_waiting)
    pool.resize(1, timeout=PATIENCE)
    gate.set()

    assert [reply.get(timeout=PATIENCE).text for reply in replies] == ["held: done"] * 12
    until(lambda: len(children()) == 1)
    assert len(pool.members()) == 1


@pytest.mark.new_processes
def test_a_pool_scales_with_its_waiting_turns(model: ScriptedModel) -> None:
    gate = held(model)
    with Supervisor.start() as supervisor:
        pool = supervisor.create_pool(model.openai_config(), 1, max_size=3, shrink_after=0.2)
        replies = [pool.ask(Chat("held"), block=False) for _ in range(9)]

        until(lambda: pool.statistics().busy == 3)
        assert pool.statistics().size == 3
        gate.set()

        assert all(reply.get(timeout=PATIENCE) for reply in replies)
        until(lambda: pool.statistics().size == 1)
        until(lambda: len(children()) == 1)
        assert pool.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"


@pytest.mark.new_processes
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "size must be an integer >= 1"),
        ({"capacity": 0}, "capacity must be an integer >= 1"),
        ({"routing": "random"}, "routing must be one of"),
        ({"size": 3, "max_size": 2}, "max_size must be an integer >= size"),
        ({"shrink_after": 0}, "shrink_after must be a number of seconds"),
        ({"max_restarts": -1}, "max_restarts must be an integer"),
        ({"idle_timeout": 0}, "idle_timeout must be a number of seconds"),
    ],
)
def test_an_invalid_pool_is_refused_before_anything_starts(
    supervisor: SupervisorRef, model: ScriptedModel, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(InvalidConfig, match=match):
        supervisor.create_pool(model.openai_config(), **options)

    assert not children()


# Its end


@pytest.mark.own_processes
def test_a_pool_that_ends_answers_all_that_wait(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    gate = held(model)
    pool = supervisor.create_pool(model.openai_config(), 2)
    replies = ask_held(pool, model, 6)

    supervisor.shutdown_agent(pool)

    for reply in replies:
        with pytest.raises(AgentDeadError):
            reply.get(timeout=PATIENCE)
    with pytest.raises(AgentDeadError, match="pool 'pool-1' has ended"):
        pool.ask(Chat("hi"))
    assert not children()
    gate.set()


def test_a_pool_is_a_context_manager(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    with supervisor.create_pool(model.openai_config(), 2) as pool:
        members: list[AgentRef] = pool.members()
        members[0].ask(WaitForIdle())

    assert not pool.is_alive()
    assert not any(member.is_alive() for member in members)
    assert supervisor.ask(GetActiveAgentCount()) == 0
    with pytest.raises(AgentDeadError):
        members[0].ask(GetStatistics())
