"""The turns of a pool that ends, and the turns that its own tools tell it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import AgentDeadError, Chat, DeadLetter, Routing, Send, Supervisor
from agy_actors.testing import ScriptedModel, call_tool, silence
from tests.harnesses import PATIENCE, until
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import Event, PoolRef, SupervisorRef

WAYS_TO_END: dict[str, Callable[[SupervisorRef, PoolRef], object]] = {
    "stop": lambda _, pool: pool.stop(timeout=PATIENCE),
    "shutdown": lambda _, pool: pool.shutdown(timeout=PATIENCE),
    "shutdown_agent": lambda supervisor, pool: supervisor.shutdown_agent(pool, timeout=PATIENCE),
    "supervisor": lambda supervisor, _: supervisor.stop(timeout=PATIENCE),
}


@pytest.mark.parametrize("way", WAYS_TO_END)
def test_a_broadcast_in_progress_is_answered_when_its_pool_ends(
    model: ScriptedModel, way: str
) -> None:
    model.when("all", silence())
    with Supervisor.start() as supervisor:
        pool = supervisor.create_pool(model.openai_config(), 2, routing=Routing.BROADCAST)
        asked = [pool.ask(Chat("all"), block=False) for _ in range(2)]
        until(lambda: len(model.requests) == 2)

        WAYS_TO_END[way](supervisor, pool)

        for future in asked:
            with pytest.raises(AgentDeadError, match="pool 'pool-1' has ended"):
                future.get(timeout=PATIENCE)


@pytest.mark.parametrize("routing", list(Routing))
@pytest.mark.parametrize(
    "message",
    quick([Send("told"), Chat("told"), "told"], 0),
    ids=["Send", "Chat", ""],
)
def test_a_turn_that_a_tool_tells_to_its_own_pool_is_carried_out(
    supervisor: SupervisorRef, model: ScriptedModel, routing: Routing, message: Any
) -> None:
    key = "ada" if routing is Routing.CONSISTENT_HASH else None

    def pass_on() -> str:
        """Pass the work on."""
        pool.tell(message, key=key)
        return "passed on"

    model.then(call_tool("pass_on"))
    pool = supervisor.create_pool(model.openai_config(tools=[pass_on]), 1, routing=routing)

    pool.ask(Chat("go"), key=key, timeout=PATIENCE)

    until(lambda: "told" in [request.prompt for request in model.requests])


@pytest.mark.parametrize("routing", [r for r in Routing if r is not Routing.CONSISTENT_HASH])
def test_turns_that_were_told_to_a_pool_that_ends_are_dead_letters(
    model: ScriptedModel, routing: Routing
) -> None:
    events: list[Event] = []
    model.when("work", silence())
    with Supervisor.start() as supervisor:
        supervisor.subscribe(events.append)
        pool = supervisor.create_pool(model.openai_config(), 1, "pool", routing=routing)
        for _ in range(3):
            pool.tell(Chat("work"))
        until(lambda: len(model.requests) == 1)
        ended = threading.Thread(target=pool.stop)
        ended.start()
        ended.join(PATIENCE)

    letters = [event for event in events if isinstance(event, DeadLetter)]
    assert {(letter.agent, letter.message) for letter in letters} >= {("pool", "Chat")}
    assert len([letter for letter in letters if letter.agent == "pool"]) >= 2
