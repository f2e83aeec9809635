"""Each invalid argument is a typed error, before anything happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    AgyActorsError,
    Chat,
    CreateAgent,
    CreatePool,
    InvalidConfig,
    InvalidPrompt,
    Resize,
    Routing,
    Send,
    Shutdown,
    ShutdownAgent,
    Subscribe,
    Supervisor,
)
from agy_actors._supervision.pool_key import check_key
from agy_actors.testing import SimulatedAgent, Simulation
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, PoolRef, SupervisorRef
    from agy_actors.testing import ScriptedModel

INVALID_TIMES = ["5", float("nan"), -1, True, 10**400, -(10**400), [1], 1j]
INVALID_FLAGS = ["no", "", 0, 1, None, [True]]
INVALID_NUMBERS = [True, False, 0, -1, 1.0, "5", float("nan"), float("inf"), [1]]
INVALID_KEYS = [5, True, b"x", ["x"], "caf\ud800e"]
INVALID_NAMES = [
    "",
    " ",
    ".",
    "..",
    ". .",
    "a\nb",
    "a\0b",
    "\0",
    "caf\ud800e",
    "a/b",
    "x" * 5000,
    5,
    b"x",
]


class World:
    """A supervisor with an agent and two pools in a simulation."""

    def __init__(self, supervisor: SupervisorRef) -> None:
        self.config = SimulatedAgent()
        self.supervisor = supervisor
        self.agent: AgentRef = supervisor.create_agent(self.config, "agent")
        self.pool: PoolRef = supervisor.create_pool(self.config, 2, "pool")
        self.hashed = supervisor.create_pool(
            self.config, 2, "hashed", routing=Routing.CONSISTENT_HASH
        )


def refuses(use: Callable[[World, Any], Any], given: list[Any]) -> None:
    """Assert that each value is refused with a typed error and has no effect."""

    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            world = World(supervisor)
            for value in given:
                with pytest.raises(AgyActorsError) as caught:
                    use(world, value)
                assert isinstance(caught.value, ValueError), value
                assert not caught.value.retryable

            assert not world.config.requests
            assert supervisor.is_alive()
            assert world.agent.ask(Chat("hi")).text == "hi"
            assert world.pool.ask(Chat("hi")).text == "hi"
            assert world.hashed.ask(Chat("hi"), key="a").text == "hi"
            assert len(world.pool.members()) == 2
            assert set(supervisor.children()) == {"agent"}
            assert set(supervisor.pools()) == {"pool", "hashed"}

    Simulation().run(scenario)


TIMEOUTS: dict[str, Callable[[World, Any], Any]] = {
    "agent.ask": lambda world, seconds: world.agent.ask(Chat("no"), timeout=seconds),
    "agent.ask, not blocking": lambda world, seconds: world.agent.ask(
        "no", block=False, timeout=seconds
    ),
    "agent.stop": lambda world, seconds: world.agent.stop(timeout=seconds),
    "agent.as_tool": lambda world, seconds: world.agent.as_tool("a", "Asks.", timeout=seconds),
    "pool.ask": lambda world, seconds: world.pool.ask(Chat("no"), timeout=seconds),
    "pool.map": lambda world, seconds: world.pool.map(["no"], timeout=seconds),
    "pool.resize": lambda world, seconds: world.pool.resize(3, timeout=seconds),
    "pool.stop": lambda world, seconds: world.pool.stop(timeout=seconds),
    "pool.shutdown": lambda world, seconds: world.pool.shutdown(timeout=seconds),
    "supervisor.shutdown": lambda world, seconds: world.supervisor.shutdown(timeout=seconds),
    "supervisor.shutdown, drained": lambda world, seconds: world.supervisor.shutdown(
        drain=True, timeout=seconds
    ),
    "supervisor.shutdown_agent": lambda world, seconds: world.supervisor.shutdown_agent(
        "agent", timeout=seconds
    ),
    "supervisor.create_agent": lambda world, seconds: world.supervisor.create_agent(
        world.config, timeout=seconds
    ),
    "supervisor.create_pool": lambda world, seconds: world.supervisor.create_pool(
        world.config, timeout=seconds
    ),
    "supervisor.create_supervisor": lambda world, seconds: world.supervisor.create_supervisor(
        timeout=seconds
    ),
    "actor_stopped.wait": lambda world, seconds: world.agent.actor_stopped.wait(seconds),
}


@pytest.mark.parametrize("method", TIMEOUTS)
def test_every_method_refuses_an_invalid_timeout(method: str) -> None:
    refuses(TIMEOUTS[method], INVALID_TIMES)


@pytest.mark.parametrize("timeout", INVALID_TIMES, ids=repr)
def test_a_stream_refuses_an_invalid_timeout_and_continues(timeout: Any) -> None:
    def scenario(_: Simulation) -> None:
        with Supervisor.start() as supervisor:
            stream = supervisor.create_agent(SimulatedAgent()).stream("hi")
            for use in (stream.events, stream.result, stream.future.get):
                with pytest.raises(ValueError, match="timeout must be a number of seconds >= 0"):
                    use(timeout=timeout)

            assert list(stream.events(timeout=60))
            assert stream.result(timeout=60).text == "hi"

    Simulation().run(scenario)


@pytest.mark.parametrize("seconds", [10**300, float("inf")], ids=["1e300", "inf"])
def test_a_very_long_time_is_accepted(model: ScriptedModel, seconds: float) -> None:
    with Supervisor.start(
        within=seconds, hang_timeout=seconds, max_conversations_per_process=10**400
    ) as supervisor:
        config = model.openai_config()
        agent = supervisor.create_agent(
            config, idle_timeout=seconds, stop_timeout=seconds, timeout=seconds
        )
        pool = supervisor.create_pool(config, 1, max_size=2, shrink_after=seconds, timeout=seconds)

        assert agent.ask(Chat("hi"), timeout=seconds).text == "echo: hi"
        assert list(agent.stream("hi").events(timeout=seconds))
        assert [reply.text for reply in pool.map(["hi"], timeout=seconds)] == ["echo: hi"]
        agent.stop(timeout=seconds)
        assert agent.actor_stopped.wait(seconds)
        pool.shutdown(drain=True, timeout=seconds)


FLAGS: dict[str, Callable[[World, Any], Any]] = {
    "agent.ask": lambda world, flag: world.agent.ask(Chat("no"), block=flag),
    "agent.stop": lambda world, flag: world.agent.stop(block=flag),
    "pool.ask": lambda world, flag: world.pool.ask(Chat("no"), block=flag),
    "pool.stop": lambda world, flag: world.pool.stop(block=flag),
    "pool.map": lambda world, flag: world.pool.map(["no"], return_exceptions=flag),
    "supervisor.stop": lambda world, flag: world.supervisor.stop(block=flag),
    "supervisor.shutdown": lambda world, flag: world.supervisor.shutdown(drain=flag),
    "supervisor.shutdown_agent": lambda world, flag: world.supervisor.shutdown_agent(
        "agent", drain=flag
    ),
    "create_pool": lambda world, flag: world.supervisor.create_pool(
        world.config, 1, keep_conversation=flag
    ),
    "CreateAgent": lambda world, flag: world.supervisor.ask(
        CreateAgent(world.config, new_conversation_each_turn=flag)
    ),
    "Shutdown": lambda _, flag: Shutdown(drain=flag),
    "ShutdownAgent": lambda _, flag: ShutdownAgent("agent", drain=flag),
}


@pytest.mark.parametrize("method", FLAGS)
def test_every_method_refuses_an_invalid_flag(method: str) -> None:
    refuses(FLAGS[method], INVALID_FLAGS)


NUMBERS: dict[str, Callable[[World, Any], Any]] = {
    "size": lambda world, number: world.supervisor.create_pool(world.config, number),
    "max_size": lambda world, number: world.supervisor.create_pool(
        world.config, 1, max_size=number
    ),
    "capacity": lambda world, number: world.supervisor.create_pool(
        world.config, 1, capacity=number
    ),
    "CreatePool": lambda world, number: world.supervisor.ask(CreatePool(world.config, number)),
    "resize": lambda world, number: world.pool.resize(number),
    "Resize": lambda _, number: Resize(number),
    "map": lambda world, number: world.pool.map(["no"], in_flight=number),
    "as_completed": lambda world, number: world.pool.as_completed(["no"], in_flight=number),
    "subscribe": lambda world, number: world.supervisor.subscribe(print, capacity=number),
    "Subscribe": lambda world, number: world.pool.ask(Subscribe(print, number)),
    "max_conversations_per_process": lambda _, number: Supervisor.start(
        max_conversations_per_process=number
    ),
}


@pytest.mark.parametrize("method", NUMBERS)
def test_every_method_refuses_an_invalid_number(method: str) -> None:
    refuses(NUMBERS[method], INVALID_NUMBERS)


@pytest.mark.parametrize("make", ["create_pool", "create_supervisor"])
def test_max_restarts_must_be_an_integer_of_at_least_0(make: str) -> None:
    def use(world: World, number: Any) -> Any:
        if make == "create_pool":
            return world.supervisor.create_pool(world.config, max_restarts=number)
        return world.supervisor.create_supervisor(max_restarts=number)

    refuses(use, [True, False, -1, 1.0, "5", float("inf")])


TIMES_OF_CREATION: dict[str, Callable[[World, Any], Any]] = {
    "within": lambda world, seconds: world.supervisor.create_supervisor(within=seconds),
    "a pool's within": lambda world, seconds: world.supervisor.create_pool(
        world.config, within=seconds
    ),
    "shrink_after": lambda world, seconds: world.supervisor.create_pool(
        world.config, 1, max_size=2, shrink_after=seconds
    ),
    "idle_timeout": lambda world, seconds: world.supervisor.create_agent(
        world.config, idle_timeout=seconds
    ),
    "a pool's idle_timeout": lambda world, seconds: world.supervisor.create_pool(
        world.config, idle_timeout=seconds
    ),
    "stop_timeout": lambda world, seconds: world.supervisor.create_agent(
        world.config, stop_timeout=seconds
    ),
    "hang_timeout": lambda _, seconds: Supervisor.start(hang_timeout=seconds),
    "turn_spacing": lambda _, seconds: Supervisor.start(turn_spacing=seconds),
}


@pytest.mark.parametrize("field", TIMES_OF_CREATION)
def test_every_maker_refuses_an_invalid_time(field: str) -> None:
    refuses(TIMES_OF_CREATION[field], INVALID_TIMES)


@pytest.mark.parametrize("key", INVALID_KEYS, ids=ascii)
def test_a_pool_refuses_a_key_that_is_not_text_with_any_routing(key: Any) -> None:
    def use(world: World, take: Any) -> Any:
        return take(world)

    refuses(
        use,
        [
            lambda world: world.pool.ask(Chat("no"), key=key),
            lambda world: world.pool.tell("no", key=key),
            lambda world: world.pool.stream("no", key=key),
            lambda world: world.hashed.ask(Chat("no"), key=key),
            lambda world: world.hashed.tell("no", key=key),
            lambda world: world.hashed.stream("no", key=key),
        ],
    )


def test_the_error_for_a_lone_surrogate_in_a_key_gives_its_position() -> None:
    with pytest.raises(InvalidConfig, match="lone surrogate at position 3"):
        check_key("caf\ud800e")


def test_a_pool_refuses_prompts_that_are_not_iterable() -> None:
    refuses(lambda world, prompts: world.pool.map(prompts), [5, None])
    refuses(lambda world, prompts: world.pool.as_completed(prompts), [5, None])


NAMED: dict[str, Callable[[World, Any], Any]] = {
    "Supervisor.start": lambda _, name: Supervisor.start(name=name),
    "create_agent": lambda world, name: world.supervisor.create_agent(world.config, name),
    "create_pool": lambda world, name: world.supervisor.create_pool(world.config, 1, name),
    "create_supervisor": lambda world, name: world.supervisor.create_supervisor(name),
}


@pytest.mark.parametrize("maker", NAMED)
def test_supervisors_agents_and_pools_refuse_the_same_names(maker: str) -> None:
    refuses(NAMED[maker], INVALID_NAMES)


def test_a_supervisors_name_is_in_unicodes_normal_form() -> None:
    def scenario(_: Simulation) -> None:
        with Supervisor.start(name="cafe\N{COMBINING ACUTE ACCENT} 2.0 @home") as supervisor:
            assert supervisor.name == "caf\N{LATIN SMALL LETTER E WITH ACUTE} 2.0 @home"

    Simulation().run(scenario)


@pytest.mark.parametrize(
    "prompt",
    [
        "\N{ZERO WIDTH SPACE}",
        "\N{BYTE ORDER MARK}\n",
        "\N{WORD JOINER} \N{ZERO WIDTH JOINER}\t\N{SOFT HYPHEN}",
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\0",
        "\x1b\x7f\x85",
        "\N{REPLACEMENT CHARACTER}",
        "\ue000\U000f0000",
        "\ufffe",
        "\N{LINE SEPARATOR}",
        ["", "\N{ZERO WIDTH SPACE}"],
    ],
    ids=ascii,
)
def test_a_prompt_without_visible_characters_is_refused_as_empty(prompt: Any) -> None:
    for kind in (Chat, Send):
        with pytest.raises(InvalidPrompt, match="empty"):
            kind(prompt)


def test_a_prompt_may_contain_invisible_characters(model: ScriptedModel) -> None:
    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(model.openai_config())

        for prompt in ("\N{BYTE ORDER MARK}hi", "\x1b[31mhi", "\N{COMBINING ACUTE ACCENT}"):
            assert agent.ask(Chat(prompt), timeout=PATIENCE).text
