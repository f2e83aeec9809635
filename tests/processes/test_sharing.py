"""Agents that share processes, on the real harness."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from google.antigravity import types as sdk
from loguru import logger

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Backoff,
    Chat,
    ChatStream,
    ConversationInUse,
    CreateAgent,
    Delete,
    Disconnect,
    GetConversationId,
    GetHistory,
    GetStatistics,
    InvalidConfig,
    ModelError,
    QuotaExceeded,
    Supervisor,
    TurnError,
    TurnStalled,
)
from agy_actors._sdk import adapter as _launch
from agy_actors._sdk import conversation_lock as ownership
from agy_actors._sdk import session as _session
from agy_actors._sdk import session_errors
from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.process import connect as _connect
from agy_actors._sdk.process import process_pool as _host
from agy_actors._sdk.process.lease import SharedLease
from agy_actors._sdk.process.shared_process import SharedProcess
from agy_actors._sdk.session import Session
from agy_actors.testing import http_error, quota_error, say, silence
from tests.harnesses import (
    FAILS,
    PATIENCE,
    children,
    fake_harness,
    has_ended,
    patient_harness,
    pid_of,
    suspend,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ScriptedModel

pytestmark = pytest.mark.new_processes

CONVERSATION = "c" * 32
SHOP = Path(__file__).parent.parent / "sdk" / "mcp_shop.py"


@pytest.fixture
def shared() -> Iterator[SupervisorRef]:
    at_once = Backoff(wait=lambda _: 0.0)
    with Supervisor.start(
        max_conversations_per_process=4, max_restarts=50, backoff=at_once
    ) as supervisor:
        yield supervisor


def create(
    supervisor: SupervisorRef, model: ScriptedModel, number: int, **options: Any
) -> list[AgentRef]:
    """Create agents concurrently."""
    config = model.openai_config(**options)
    creations = [supervisor.ask(CreateAgent(config), block=False) for _ in range(number)]
    return [creation.get(timeout=PATIENCE) for creation in creations]


def processes(agents: list[AgentRef]) -> dict[int, list[AgentRef]]:
    """Return the process of each agent."""
    found: dict[int, list[AgentRef]] = {}
    for agent in agents:
        found.setdefault(pid_of(agent), []).append(agent)
    return found


# Places


def test_agents_share_processes_up_to_the_bound(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    agents = create(shared, model, 10)

    sizes = sorted(len(on_it) for on_it in processes(agents).values())

    assert sizes == [2, 4, 4]
    answers = [agent.ask(Chat(f"hi {n}"), block=False) for n, agent in enumerate(agents)]
    assert [a.get(timeout=PATIENCE).text for a in answers] == [f"echo: hi {n}" for n in range(10)]


def test_by_default_sixteen_agents_share_a_process(
    monkeypatch: pytest.MonkeyPatch, model: ScriptedModel
) -> None:
    monkeypatch.delenv("AGY_ACTORS_CONVERSATIONS_PER_PROCESS", raising=False)
    with Supervisor.start() as supervisor:
        sizes = sorted(len(on_it) for on_it in processes(create(supervisor, model, 17)).values())

    assert sizes == [1, 16]


def test_with_one_conversation_per_process_no_agents_share(model: ScriptedModel) -> None:
    with Supervisor.start(max_conversations_per_process=1) as supervisor:
        agents = create(supervisor, model, 3)

        assert len(processes(agents)) == len(children()) == 3


@pytest.mark.parametrize("most", [0, -1, 1.5, "many"])
def test_an_invalid_number_of_conversations_per_process_is_refused(most: Any) -> None:
    with pytest.raises(InvalidConfig, match=r"max_conversations_per_process.*integer >= 1"):
        Supervisor.start(max_conversations_per_process=most)


def test_a_nested_supervisor_shares_with_the_one_above(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    above = create(shared, model, 1)
    below = create(shared.create_supervisor("below"), model, 1)

    assert pid_of(above[0]) == pid_of(below[0])


def test_agents_of_another_api_key_or_service_do_not_share(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    configs = {
        "one": model.gemini_config(api_key="one"),
        "same": model.gemini_config(api_key="one"),
        "other": model.gemini_config(api_key="other"),
        "service": model.openai_config(),
    }
    agents = {name: shared.create_agent(config) for name, config in configs.items()}

    pids = {name: pid_of(agent) for name, agent in agents.items()}
    assert pids["one"] == pids["same"]
    assert len(set(pids.values())) == 3
    assert {agent.ask(Chat("hi"), timeout=PATIENCE).text for agent in agents.values()} == {
        "echo: hi"
    }


def test_the_processes_of_all_keys_start_a_few_at_a_time(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host, "_MAX_STARTS", 1)
    env, go = patient_harness(tmp_path)
    begun: list[SharedProcess] = []
    running: list[int] = []
    handshake = SharedProcess.handshake

    def spy(process: SharedProcess) -> None:
        begun.append(process)
        handshake(process)
        running.append(len(begun))

    monkeypatch.setattr(SharedProcess, "handshake", spy)
    with Supervisor.start(max_conversations_per_process=4) as supervisor:
        configs = [model.gemini_config(api_key=key, env=env) for key in ("one", "two", "three")]
        creations = [supervisor.ask(CreateAgent(config), block=False) for config in configs]
        until(lambda: bool(begun))
        go()
        for creation in creations:
            creation.get(timeout=PATIENCE)

    assert running == [1, 2, 3]  # Each was up before the next began.


def test_agents_of_another_environment_do_not_share(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    plain = create(shared, model, 2)
    other = create(shared, model, 2, env={"OTHER": "yes"})

    assert [len(on_it) for on_it in processes([*plain, *other]).values()] == [2, 2]


def test_agents_of_another_save_dir_do_not_share(
    shared: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    agents = create(shared, model, 1) + create(shared, model, 1, save_dir=str(tmp_path))

    assert len(processes(agents)) == 2


def test_an_agent_with_mcp_servers_has_its_own_process_and_they_end_with_it(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    # A harness ends its MCP servers when it ends, and not with their conversation.
    server = sdk.McpStdioServer(name="shop", command=sys.executable, args=[str(SHOP)])
    plain = create(shared, model, 1)[0]
    agent = create(shared, model, 1, mcp_servers=[server])[0]
    agent.ask(Chat("hi"), timeout=PATIENCE)
    own = psutil.Process(pid_of(agent))
    servers = own.children(recursive=True)

    assert servers
    assert pid_of(plain) != own.pid
    agent.stop()
    until(lambda: all(has_ended(process) for process in [own, *servers]))


# The SDK leaves the pipes of its processes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_an_unknown_release_each_agent_has_its_own_process_and_there_is_one_warning(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(_launch, "_KNOWN_PARAMETERS", {"something", "else"})
    monkeypatch.setattr(logger, "warning", warnings.append)
    _launch._warn_of_unknown_shape.cache_clear()

    agents = create(shared, model, 2)

    assert [agent.ask(Chat("hi"), timeout=PATIENCE).text for agent in agents] == ["echo: hi"] * 2
    assert len(children()) == 2
    assert len(warnings) == 1
    _launch._warn_of_unknown_shape.cache_clear()
    for agent in agents:
        agent.stop()
    gc.collect()


# Leaving


def test_an_agent_that_ends_leaves_its_process_to_the_others(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    ends, stays = create(shared, model, 2)
    pid = pid_of(stays)

    ends.ask(Disconnect())

    assert stays.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert (pid_of(stays), stays.ask(GetStatistics()).restarts) == (pid, 0)


def test_a_released_place_is_used_again(shared: SupervisorRef, model: ScriptedModel) -> None:
    agents = create(shared, model, 4)
    pid = pid_of(agents[0])

    agents[0].ask(Delete())

    assert pid_of(create(shared, model, 1)[0]) == pid


def test_an_empty_process_ends_after_its_idle_time(
    monkeypatch: pytest.MonkeyPatch, model: ScriptedModel
) -> None:
    monkeypatch.setattr(_host, "IDLE_TIME", 0.05)
    with Supervisor.start(max_conversations_per_process=4) as supervisor:
        for agent in create(supervisor, model, 2):
            agent.stop()

        until(lambda: not children())

        assert create(supervisor, model, 1)[0].ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"


def test_nothing_is_left_when_the_supervisor_has_ended(model: ScriptedModel) -> None:
    with Supervisor.start(max_conversations_per_process=2) as supervisor:
        create(supervisor, model, 5)
        assert len(children()) >= 3

    assert not children()


def test_nothing_is_left_when_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch, model: ScriptedModel
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with Supervisor.start(max_conversations_per_process=1) as supervisor:
        create(supervisor, model, 2)
        with Supervisor.start(max_conversations_per_process=2) as sharing:
            create(sharing, model, 3)
            monkeypatch.setattr(_host, "in_daemon_thread", refuse)
        until(lambda: len(children()) == 2)

    assert not children()


def test_a_turn_that_is_cut_off_ends_in_its_process_too(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    model.when("slow", silence("one"))
    ends, stays = create(shared, model, 2)
    turn = ends.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)

    ends.ask(Disconnect())

    assert model.wait_for_disconnect(PATIENCE).prompt == "slow"
    assert stays.ask(GetStatistics()).restarts == 0
    with pytest.raises(AgentDeadError, match="has ended"):
        turn.get(timeout=PATIENCE)


# Starts that fail


def test_all_agents_that_wait_for_a_process_get_the_error_of_its_start(
    shared: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(env=fake_harness(tmp_path, FAILS))
    creations = [shared.ask(CreateAgent(config), block=False) for _ in range(3)]

    for creation in creations:
        with pytest.raises(AgentStartError, match="no such luck"):
            creation.get(timeout=PATIENCE)
    assert create(shared, model, 1)


def test_a_supervisor_ends_while_a_process_starts(model: ScriptedModel, tmp_path: Path) -> None:
    env, _ = patient_harness(tmp_path)
    with Supervisor.start(max_conversations_per_process=4) as supervisor:
        creation = supervisor.ask(CreateAgent(model.openai_config(env=env)), block=False)
        until(lambda: bool(children()))

    assert not children()
    with pytest.raises(AgentDeadError, match="ended"):
        creation.get(timeout=PATIENCE)


# Lines of standard error and the turns that they are about


def test_hanging_turns_and_refused_turns_are_distinguished(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    """All on one process, at the same time; the harness retries the refused ones silently."""
    kinds = {
        "quota": (quota_error(retry_after=60.0), "QuotaExceeded"),
        "silent": (silence(), "TurnStalled"),
        "echo": (None, "echo: echo"),
    }
    agents = {kind: shared.create_agent(model.gemini_config()) for kind in kinds}
    for kind, (reply, _) in kinds.items():
        if reply is not None:
            model.when(kind, reply)
    agents["silent"].ask(Chat("warm up"), timeout=PATIENCE)

    turns = {
        kind: agent.ask(Chat(kind, stall_timeout=2.0), block=False)
        for kind, agent in agents.items()
    }

    assert {kind: outcome(turn) for kind, turn in turns.items()} == {
        kind: expected for kind, (_, expected) in kinds.items()
    }
    assert len(processes(list(agents.values()))) == 1


def test_a_quota_refusal_is_reported_while_other_agents_have_turns(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    """The harness retries it for longer than a turn lasts, and names no conversation."""
    agents = [shared.create_agent(model.gemini_config()) for _ in range(4)]
    assert len(processes(agents)) == 1
    model.when("more", quota_error(retry_after=0.5))

    turns = [agent.ask(Chat("more", timeout=3.0), block=False) for agent in agents]

    for turn in turns:
        with pytest.raises(QuotaExceeded) as raised:
            turn.get(timeout=PATIENCE)
        assert raised.value.retry_after == 0.5


def test_a_line_while_other_agents_are_idle_is_about_the_turn(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    idle, refused = (shared.create_agent(model.gemini_config()) for _ in range(2))
    model.when("busy", http_error(503))
    idle.ask(Chat("warm up"), timeout=PATIENCE)

    with pytest.raises(ModelError) as raised:
        refused.ask(Chat("busy", stall_timeout=2.0), timeout=PATIENCE)

    assert raised.value.status == 503
    assert len(processes([idle, refused])) == 1


# Crashes


def test_a_process_that_agents_share_dies(model: ScriptedModel) -> None:
    """Sixteen conversations, eight of them in a turn, and others on another process."""
    gate = threading.Event()
    model.when("^held", say("one two", gate=gate), times=8)
    with Supervisor.start(max_conversations_per_process=16) as supervisor:
        agents = create(supervisor, model, 20)
        first, others = sorted(processes(agents).values(), key=len, reverse=True)
        before = [agent.ask(Chat(f"before {n}"), block=False) for n, agent in enumerate(agents)]
        assert all(reply.get(timeout=PATIENCE) for reply in before)
        asked = len(model.requests)
        turns = [agent.ask(Chat(f"held {n}"), block=False) for n, agent in enumerate(first[:8])]
        model.wait_for_requests(asked + 8)

        os.kill(pid_of(first[0]), signal.SIGKILL)
        killed = time.monotonic()
        answers = [agent.ask(Chat("after"), block=False) for agent in agents]

        assert [a.get(timeout=PATIENCE).text for a in answers] == ["echo: after"] * 20
        assert time.monotonic() - killed < PATIENCE
        gate.set()
        outcomes = [outcome(turn) for turn in turns]
        assert set(outcomes) <= {"TurnInterrupted", *(f"echo: held {n}" for n in range(8))}
        for number, agent in enumerate(agents):
            said = [step.content for step in agent.ask(GetHistory())]
            assert f"echo: before {number}" in said
        assert [agent.ask(GetStatistics()).restarts for agent in others] == [0] * 4
        assert [agent.ask(GetStatistics()).restarts for agent in first] == [1] * 16


def outcome(turn: Any) -> str:
    try:
        wait = turn.result if isinstance(turn, ChatStream) else turn.get
        return str(wait(timeout=PATIENCE).text)
    except TurnError as error:
        return type(error).__name__


def test_a_process_that_agents_share_hangs(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agy_actors._agents.turn_attempt.CANCEL_GRACE", 0.2)
    monkeypatch.setattr(_host, "HEALTH_CHECK_TIMEOUT", 0.2)
    agents = create(shared, model, 2)
    for agent in agents:
        agent.ask(Chat("before"), timeout=PATIENCE)
    process = psutil.Process(pid_of(agents[0]))
    suspend(process.pid)

    with pytest.raises(TurnStalled):
        agents[0].ask(Chat("hi", stall_timeout=0.2), timeout=PATIENCE)

    for agent in agents:
        assert agent.ask(Chat("after"), timeout=PATIENCE).text == "echo: after"
        assert pid_of(agent) != process.pid
    until(lambda: has_ended(process))


def test_an_unclean_exit_reveals_a_process_that_hangs(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agy_actors._agents.session_reports.STOP_GRACE", 0.5)
    monkeypatch.setattr(_host, "HEALTH_CHECK_TIMEOUT", 0.2)
    leaves, stays = create(shared, model, 2)
    process = psutil.Process(pid_of(leaves))
    suspend(process.pid)

    ending = leaves.ask(Disconnect(), block=False)

    assert stays.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    ending.get(timeout=PATIENCE)
    until(lambda: has_ended(process))


def test_an_agent_that_cannot_connect_to_a_process_that_hangs_gets_another(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connect, "_OPEN_TIMEOUT", 0.5)
    monkeypatch.setattr(_host, "HEALTH_CHECK_TIMEOUT", 0.2)
    first = create(shared, model, 1)[0]
    process = psutil.Process(pid_of(first))
    suspend(process.pid)

    second = create(shared, model, 1)[0]

    assert second.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert first.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    until(lambda: has_ended(process))


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the locks, so that only the harness refuses a conversation."""
    monkeypatch.setattr(ConversationLock, "take", lambda *_: None)
    monkeypatch.setattr(ownership, "harness_with", lambda _: None)


def test_a_conversation_that_the_harness_still_holds_is_waited_for(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    hear = SharedLease.note_line

    def spy(lease: SharedLease, line: str, alone: bool) -> None:
        hear(lease, line, alone)
        if "already in use" in line:
            refused.set()

    monkeypatch.setattr(SharedLease, "note_line", spy)
    without_locks(monkeypatch)
    config = model.openai_config(conversation_id=CONVERSATION)
    first = shared.create_agent(config)
    first.ask(Chat("before"), timeout=PATIENCE)

    creation = shared.ask(CreateAgent(config), block=False)
    assert refused.wait(PATIENCE)
    shared.shutdown_agent(first)

    second = creation.get(timeout=PATIENCE)
    assert [step.content for step in second.ask(GetHistory())] == ["before", "echo: before"]


def test_a_conversation_that_another_agent_holds_is_refused(
    shared: SupervisorRef, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session, "HELD", 0.2)
    monkeypatch.setattr(session_errors, "HELD", 0.2)
    without_locks(monkeypatch)
    config = model.openai_config(conversation_id=CONVERSATION)
    first = shared.create_agent(config)

    with pytest.raises(ConversationInUse, match=CONVERSATION) as caught:
        shared.create_agent(config)

    assert caught.value.pid == pid_of(first)
    assert first.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"


def test_a_crash_of_one_conversation_does_not_affect_the_others(
    shared: SupervisorRef, model: ScriptedModel
) -> None:
    gate = threading.Event()
    crashes, streams = create(shared, model, 2)
    model.when("stream", say("one two", gate=gate))
    model.when("broken", http_error(401))
    turn = streams.ask(Chat("stream"), block=False)
    model.wait_for_requests(1)

    for _ in range(3):
        with pytest.raises(ModelError):
            crashes.ask(Chat("broken"), timeout=PATIENCE)
    gate.set()

    assert turn.get(timeout=PATIENCE).text == "one two"
    assert crashes.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
    assert streams.ask(GetStatistics()).restarts == 0
    assert len(processes([crashes, streams])) == 1


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Session]:
    """The sessions that were opened last, by their conversation."""
    opened: dict[str, Session] = {}
    open_session = Session.open

    async def open_and_note(session: Session) -> None:
        await open_session(session)
        opened[session._agent._config.conversation_id or ""] = session

    monkeypatch.setattr(Session, "open", open_and_note)
    return opened


@pytest.mark.parametrize("count", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_conversation_that_is_cut_off_at_any_point_continues(
    shared: SupervisorRef, model: ScriptedModel, sessions: dict[str, Session], count: int
) -> None:
    """It is resumed at once, on the same process, which may still have it open."""
    agent, sibling = create(shared, model, 2)
    model.when("^cut", say("one two three four", delay=0.002))
    for number in range(count):
        stream = agent.stream(Chat(f"cut {number}"))
        for _ in zip(range(number % 5), stream, strict=False):
            pass

        sessions[agent.ask(GetConversationId())].kill()

        assert outcome(stream) in ("TurnInterrupted", "one two three four")
        assert agent.ask(Chat(f"after {number}"), timeout=PATIENCE).text == f"echo: after {number}"
    asked = [text for role, text in model.requests[-1].messages if role == "user"]
    assert [asked.count(f"after {number}") for number in range(count)] == [1] * count
    assert sibling.ask(GetStatistics()).restarts == 0
    assert len(processes([agent, sibling])) == 1
