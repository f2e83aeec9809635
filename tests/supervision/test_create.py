from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pykka
import pytest
from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    AskTimeout,
    Backoff,
    Chat,
    CreateAgent,
    Disconnect,
    GetActiveAgentCount,
    GetChildren,
    InvalidConfig,
    Restart,
    ShutdownAgent,
    Strategy,
    Supervisor,
)
from agy_actors._agents.agent_actor import AgentActor
from tests.harnesses import FAILS, HANGS, PATIENCE, children, fake_harness, pid_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


def wait_for_child(name: str) -> psutil.Process:
    """Wait until there is a child process with that name."""
    while True:
        for child in children():
            try:
                if child.name() == name:
                    return child
            except psutil.NoSuchProcess:
                continue


def test_an_agent_is_created_by_method(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    assert agent.name == "poet"
    assert agent.is_alive()
    assert agent.ask(Chat("hi")).text == "echo: hi"


def test_an_agent_is_created_by_message(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agent = supervisor.ask(CreateAgent(model.gemini_config(), "poet"))

    assert agent.ask(Chat("hi")).text == "echo: hi"


def test_agents_without_a_name_get_names_that_are_free(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    supervisor.create_agent(model.openai_config(), "agent-2")

    names = [supervisor.create_agent(model.openai_config()).name for _ in range(2)]

    assert names == ["agent-1", "agent-3"]


def test_many_threads_create_agents_at_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    def create_and_ask(number: int) -> str:
        agent = supervisor.create_agent(model.openai_config(), f"agent {number}")
        return agent.ask(Chat(f"{number}")).text

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(create_and_ask, range(8)))

    assert replies == [f"echo: {number}" for number in range(8)]
    assert supervisor.ask(GetActiveAgentCount()) == 8


def test_no_creation_waits_for_the_start_of_another_agent(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    hanging = supervisor.ask(
        CreateAgent(model.openai_config(env=fake_harness(tmp_path, HANGS)), "hanging"), block=False
    )

    others = [supervisor.create_agent(model.openai_config()) for _ in range(3)]

    assert [agent.ask(Chat("hi")).text for agent in others] == ["echo: hi"] * 3
    assert not hanging.done()
    supervisor.shutdown_agent("hanging")
    with pytest.raises(AgentStartError, match="'hanging' was ended while it started"):
        hanging.get()


def test_a_name_that_is_taken_is_refused(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    first = supervisor.create_agent(model.openai_config(), "poet")

    with pytest.raises(InvalidConfig, match="has a child 'poet' already"):
        supervisor.create_agent(model.openai_config(), "poet")

    assert supervisor.children() == {"poet": first}
    assert first.ask(Chat("hi")).text == "echo: hi"


@pytest.mark.new_processes
@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\nb", "x" * 101, 5, "../up", "a\x00"])
def test_a_bad_name_is_refused(supervisor: SupervisorRef, model: ScriptedModel, name: Any) -> None:
    with pytest.raises(InvalidConfig, match=r"a name .* must be 1 to 100"):
        supervisor.create_agent(model.openai_config(), name)

    assert not children()


@pytest.mark.parametrize("name", ["größe", "a b", "me@home", "v1.2_x+y-z", "x" * 100])
def test_a_name_may_hold_words_of_any_language(supervisor: SupervisorRef, name: str) -> None:
    with pytest.raises(InvalidConfig, match="needs a configuration"):
        supervisor.create_agent(None, name)  # type: ignore[call-overload] # the name is looked at first


@pytest.mark.new_processes
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"restart": "always"}, "restart must be one of"),
        ({"retry": 3}, "retry must be an"),
        ({"idle_timeout": 0}, "idle_timeout must be a number of seconds > 0"),
        ({"stop_timeout": -1}, "stop_timeout must be a number of seconds > 0"),
        ({"max_model_errors": -1}, "max_model_errors must be an integer >= 0"),
        ({"max_empty_steps": 1.5}, "max_empty_steps must be an integer >= 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(
    supervisor: SupervisorRef, model: ScriptedModel, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        supervisor.create_agent(model.openai_config(), "poet", **options)

    assert not children()
    assert supervisor.children() == {}


def test_an_object_that_is_not_a_configuration_is_refused(supervisor: SupervisorRef) -> None:
    with pytest.raises(InvalidConfig, match=r"LocalAgentConfig\(\.\.\.\), got dict"):
        supervisor.create_agent({"model": "m"}, "poet")  # type: ignore[call-overload]


class Locked(LocalOpenAIAgentConfig):
    """A configuration that cannot be copied."""

    lock: Any


def test_a_configuration_that_the_sdk_cannot_copy_is_refused(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    plain = model.openai_config()
    config = Locked(base_url=plain.base_url, model=plain.model, lock=threading.Lock())

    with pytest.raises(InvalidConfig, match="cannot use the configuration of agent 'poet'"):
        supervisor.create_agent(config, "poet")

    assert supervisor.children() == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strategy": "one_for_one"}, "strategy must be one of"),
        ({"max_restarts": -1}, "max_restarts must be an integer"),
        ({"max_restarts": 1.5}, "max_restarts must be an integer"),
        ({"within": 0}, "within must be a number of seconds"),
        ({"within": float("nan")}, "within must be a number of seconds"),
        ({"backoff": 1.0}, "backoff must be an"),
        ({"state_dir": 5}, "state_dir must be the path"),
        ({"state_dir": __file__}, "cannot be used"),
        ({"name": ""}, "a name .* must be 1 to 100"),
    ],
)
def test_an_invalid_supervisor_is_refused_before_anything_starts(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        Supervisor.start(**options)

    assert pykka.ActorRegistry.get_all() == []


def test_a_supervisor_takes_each_of_its_arguments(tmp_path: Path) -> None:
    with Supervisor.start(
        name="boss",
        strategy=Strategy.ONE_FOR_ONE,
        max_restarts=0,
        within=1,
        backoff=Backoff(),
        state_dir=tmp_path / "new" / "folder",
    ) as supervisor:
        assert supervisor.name == "boss"

    assert (tmp_path / "new" / "folder").is_dir()


def test_a_supervisor_whose_thread_does_not_start_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Supervisor.start()

    assert list(tmp_path.iterdir()) == []


def test_an_agent_does_not_start(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, FAILS))

    with pytest.raises(
        AgentStartError, match=r"agent 'poet' did not start.*no such luck"
    ) as caught:
        supervisor.create_agent(config, "poet")

    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.retryable


def test_the_creator_gets_the_sdks_reason_for_a_refused_start(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    config = model.openai_config(capabilities={"enable_subagents": False}, policies=[])

    with pytest.raises(AgentStartError, match="without a safety policy") as caught:
        supervisor.create_agent(config, "poet")

    assert caught.value.__cause__ is None


@pytest.mark.new_processes
def test_a_failed_start_leaves_nothing_behind(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, FAILS))
    assert supervisor.children() == {}  # It has started, with its own threads.
    threads = set(threading.enumerate())

    for _ in range(3):
        with pytest.raises(AgentStartError):
            supervisor.create_agent(config, "poet")

    until(lambda: not children())
    assert supervisor.children() == {}
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
    assert set(threading.enumerate()) <= threads
    assert pykka.ActorRegistry.get_all() == [supervisor]
    assert supervisor.create_agent(model.openai_config(), "poet").ask(Chat("hi")).text == "echo: hi"


def test_an_agent_whose_thread_does_not_start_is_a_failed_start(
    supervisor: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("AgentActor"):
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(AgentStartError, match="can't start new thread"):
            supervisor.create_agent(model.openai_config(), "poet")

    assert supervisor.children() == {}
    assert pykka.ActorRegistry.get_all() == [supervisor]


@pytest.mark.new_processes
def test_a_create_that_its_asker_gave_up_leaves_nothing_behind(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, HANGS))

    with pytest.raises(AskTimeout):
        supervisor.create_agent(config, "poet", timeout=0.3)

    _, alive = psutil.wait_procs(children(), timeout=10)
    assert not alive


def test_the_name_of_a_create_that_was_given_up_is_free_at_once(
    supervisor: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, HANGS))

    for _ in range(3):
        with pytest.raises(AskTimeout):
            supervisor.create_agent(config, "poet", timeout=0.1)
    agent = supervisor.create_agent(model.openai_config(), "poet")

    assert agent.ask(Chat("hi")).text == "echo: hi"
    assert supervisor.children() == {"poet": agent}


def test_the_name_of_an_agent_that_disconnected_is_free_at_once(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    for _ in range(5):
        agent = supervisor.create_agent(model.openai_config(), "poet")
        agent.ask(Disconnect())

    again = supervisor.create_agent(model.openai_config(), "poet")

    assert supervisor.children() == {"poet": again}


def test_an_agent_that_disconnected_is_gone_before_its_thread_is(
    supervisor: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    end = AgentActor._after_loop

    def linger(actor: AgentActor) -> None:
        assert release.wait(PATIENCE)
        end(actor)

    monkeypatch.setattr(AgentActor, "_after_loop", linger)
    agent = supervisor.create_agent(model.openai_config(), "poet")
    try:
        agent.ask(Disconnect())

        assert supervisor.children() == {}
        assert supervisor.ask(GetActiveAgentCount()) == 0
    finally:
        release.set()


@pytest.mark.new_processes
def test_a_supervisor_that_stops_does_not_wait_for_a_start_that_hangs(
    model: ScriptedModel, tmp_path: Path
) -> None:
    supervisor = Supervisor.start()
    config = model.openai_config(env=fake_harness(tmp_path, HANGS))
    creation = supervisor.ask(CreateAgent(config, "hanging"), block=False)
    hanging = wait_for_child("sleep")

    supervisor.stop(timeout=8)

    assert not hanging.is_running()
    with pytest.raises((AgentStartError, AgentDeadError)):
        creation.get()


def test_asks_of_an_ended_supervisor_raise_that_it_is_dead(model: ScriptedModel) -> None:
    supervisor = Supervisor.start(name="boss")
    supervisor.stop()

    with pytest.raises(AgentDeadError, match="supervisor 'boss' has ended"):
        supervisor.create_agent(model.openai_config())


def test_children_come_in_the_order_of_their_start(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agents = {name: supervisor.create_agent(model.openai_config(), name) for name in "cab"}

    assert list(supervisor.ask(GetChildren()).items()) == list(agents.items())
    assert supervisor.ask(GetActiveAgentCount()) == 3

    supervisor.ask(ShutdownAgent("a"))

    assert list(supervisor.ask(GetChildren())) == ["c", "b"]
    assert supervisor.ask(GetActiveAgentCount()) == 2


def test_a_message_that_a_supervisor_does_not_know_is_an_error(supervisor: SupervisorRef) -> None:
    with pytest.raises(TypeError, match="does not answer Chat; it answers CreateActor"):
        supervisor.ask(Chat("hi"))


@pytest.mark.parametrize("message", [ShutdownAgent("nobody"), "nonsense", CreateAgent(None, "x")])  # type: ignore[arg-type]
def test_a_mistake_in_a_tell_does_not_end_the_supervisor(
    supervisor: SupervisorRef, model: ScriptedModel, message: object
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet", restart=Restart.TEMPORARY)

    supervisor.tell(message)

    assert supervisor.children() == {"poet": agent}
    assert agent.ask(Chat("hi")).text == "echo: hi"


def test_agents_and_supervisors_are_in_pykkas_registry(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    agent = supervisor.create_agent(model.openai_config(), "poet")

    assert pykka.ActorRegistry.get_all() == [supervisor, agent]
    assert pykka.ActorRegistry.get_by_urn(agent.actor_urn) is agent


@pytest.mark.own_processes
def test_each_agent_has_its_own_process(supervisor: SupervisorRef, model: ScriptedModel) -> None:
    agents = [supervisor.create_agent(model.openai_config()) for _ in range(2)]

    assert len({pid_of(agent) for agent in agents}) == 2
