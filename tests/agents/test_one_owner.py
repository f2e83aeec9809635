"""A conversation is open in one agent at a time: in this program, and in all others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import tenacity

from agy_actors import (
    AgentDeadError,
    AgentStartError,
    Backoff,
    Cancel,
    Chat,
    ConversationInUse,
    Delete,
    Disconnect,
    GetConversationId,
    GetHistory,
    GetStatistics,
    GetTurnCount,
    InvalidConfig,
    IsIdle,
    ModelError,
    RetryPolicy,
    Send,
    Supervisor,
    TurnCancelled,
)
from agy_actors._sdk import session as _session
from agy_actors._sdk.session import Session
from agy_actors.testing import ScriptedModel, SimulatedAgent, call_tool, http_error
from tests.harnesses import PATIENCE, SOON, fake_harness, kill_harness, until
from tests.programs import Popen
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import AgentRef, SupervisorRef
    from tests.agents.agents import Configure

SHORT = 0.05
CONVERSATION = "0123456789abcdef0123456789abcdef"


def said(agent: AgentRef) -> list[str]:
    return [step.content for step in agent.ask(GetHistory(), timeout=PATIENCE)]


def locks(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.lock")]


def sleep(agent: AgentRef) -> None:
    until(lambda: agent.ask(GetStatistics(), timeout=SOON).state == "asleep")


def wait_until_free(folder: Path) -> None:
    until(lambda: not locks(folder))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SupervisorRef]:
    """A second supervisor on the same folder."""
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        yield supervisor


@pytest.fixture
def first(tmp_path: Path) -> Iterator[SupervisorRef]:
    with Supervisor.start(state_dir=tmp_path, max_restarts=20) as supervisor:
        yield supervisor


def test_a_conversation_is_open_in_another_agent(
    first: SupervisorRef, other: SupervisorRef, configure: Configure, tmp_path: Path
) -> None:
    began = time.time()
    agent = first.create_agent(configure(), name="poet")
    agent.ask(Chat("one"), timeout=PATIENCE)

    with pytest.raises(ConversationInUse) as caught:
        other.create_agent(configure(), name="poet", timeout=PATIENCE)

    error = caught.value
    assert type(error) is ConversationInUse
    assert (error.pid, error.host) == (os.getpid(), socket.gethostname())
    assert error.conversation_id == agent.ask(GetConversationId())
    assert began - 1 <= (error.since or 0.0) <= time.time()
    assert other.children() == {}
    assert agent.ask(Chat("two"), timeout=PATIENCE).text == "echo: two"
    first.shutdown_agent(agent)
    assert locks(tmp_path) == []
    successor = other.create_agent(configure(), name="poet", timeout=PATIENCE)
    assert said(successor) == ["one", "echo: one", "two", "echo: two"]


def test_agents_that_take_turns_by_sleeping_lose_nothing(
    configure: Configure, model: ScriptedModel, tmp_path: Path
) -> None:
    def create(supervisor: SupervisorRef) -> AgentRef:
        return supervisor.create_agent(configure(), name="poet", idle_timeout=SHORT)

    everything: list[str] = []
    with (
        Supervisor.start(state_dir=tmp_path) as one,
        Supervisor.start(state_dir=tmp_path) as two,
    ):
        a = create(one)
        sleep(a)
        wait_until_free(tmp_path)
        b = create(two)
        for number, agent in enumerate((a, b, a, b, a), 1):
            for sleeper in (a, b):
                sleep(sleeper)
            wait_until_free(tmp_path)

            assert agent.ask(Chat(f"{number}"), timeout=PATIENCE).text == f"echo: {number}"

            everything = [text for n in range(1, number + 1) for text in (f"{n}", f"echo: {n}")]
            assert said(agent) == everything
            assert agent.ask(GetTurnCount()) == number
            asked = [text for role, text in model.requests[-1].messages if role == "user"]
            assert asked == [f"{n}" for n in range(1, number + 1)]

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        assert said(supervisor.create_agent(configure(), name="poet")) == everything


def test_an_agent_whose_conversation_is_in_use_stays_asleep_and_wakes_when_it_is_free(
    first: SupervisorRef, other: SupervisorRef, configure: Configure, tmp_path: Path
) -> None:
    sleeper = first.create_agent(configure(), name="poet", idle_timeout=SHORT)
    sleeper.ask(Chat("one"), timeout=PATIENCE)
    sleep(sleeper)
    wait_until_free(tmp_path)
    owner = other.create_agent(configure(), name="poet", timeout=PATIENCE)

    for _ in range(8):  # More often than it could crash.
        with pytest.raises(ConversationInUse, match=f"process {os.getpid()}") as caught:
            sleeper.ask(Chat("no"), timeout=PATIENCE)
        assert caught.value.retryable
    sleeper.tell(Send("no"))
    sleeper.tell(Chat("no"))
    with pytest.raises(ConversationInUse):
        sleeper.stream(Chat("no")).result(timeout=PATIENCE)
    until(lambda: sleeper.ask(IsIdle(), timeout=SOON))
    statistics = sleeper.ask(GetStatistics())
    assert (statistics.state, statistics.restarts) == ("asleep", 0)
    owner.ask(Chat("two"), timeout=PATIENCE)
    owner.stop(timeout=PATIENCE)

    assert sleeper.ask(Chat("three"), timeout=PATIENCE).text == "echo: three"
    assert said(sleeper) == ["one", "echo: one", "two", "echo: two", "three", "echo: three"]


def test_a_retry_policy_may_wait_until_a_conversation_is_free(
    first: SupervisorRef, other: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    patient = RetryPolicy(
        attempts=10_000,
        retry=tenacity.retry_if_exception_type(ConversationInUse),
        wait=tenacity.wait_fixed(0.02),
    )
    sleeper = first.create_agent(
        model.openai_config(), name="poet", idle_timeout=SHORT, retry=patient
    )
    sleep(sleeper)
    wait_until_free(tmp_path)
    owner = other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
    turn = sleeper.ask(Chat("at last"), block=False)
    cancelled = sleeper.ask(Chat("never"), block=False)

    owner.ask(Chat("first"), timeout=PATIENCE)
    assert not turn.done()
    owner.stop(timeout=PATIENCE)

    reply = turn.get(timeout=PATIENCE)
    assert (reply.text, reply.attempts) == ("echo: at last", 1)
    assert cancelled.get(timeout=PATIENCE).text == "echo: never"
    assert [text for role, text in model.requests[-1].messages if role == "user"] == [
        "first",
        "at last",
        "never",
    ]


def test_a_turn_that_waits_for_its_conversation_is_cancelled_at_once(
    first: SupervisorRef, other: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    patient = RetryPolicy(
        retry=tenacity.retry_if_exception_type(ConversationInUse), wait=tenacity.wait_fixed(50)
    )
    sleeper = first.create_agent(
        model.openai_config(), name="poet", idle_timeout=SHORT, retry=patient
    )
    sleep(sleeper)
    wait_until_free(tmp_path)
    other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
    turn = sleeper.ask(Chat("never"), block=False)
    until(lambda: sleeper.ask(Cancel(), timeout=SOON))

    with pytest.raises(TurnCancelled):
        turn.get(timeout=SOON)
    assert not model.requests


@pytest.mark.parametrize("durable", [True, False])
def test_an_explicit_conversation_has_one_owner_in_every_folder(
    model: ScriptedModel, tmp_path: Path, durable: bool
) -> None:
    config = model.openai_config(conversation_id=CONVERSATION)
    with Supervisor.start(state_dir=tmp_path if durable else None) as supervisor:
        agent = supervisor.create_agent(config)
        below = supervisor.create_supervisor("below")

        for create in (supervisor.create_agent, below.create_agent):
            with pytest.raises(ConversationInUse, match=CONVERSATION):
                create(config, timeout=PATIENCE)

        agent.ask(Disconnect(), timeout=PATIENCE)
        below.create_agent(config, timeout=PATIENCE)


def test_a_save_dir_is_the_same_under_all_its_names(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    agent = supervisor.create_agent(
        model.openai_config(conversation_id=CONVERSATION, save_dir=str(real))
    )
    agent.ask(Chat("hi"), timeout=PATIENCE)

    for name in (str(link), f"{real}/", f"{real}/../real"):
        config = model.openai_config(conversation_id=CONVERSATION, save_dir=name)
        with pytest.raises(ConversationInUse):
            supervisor.create_agent(config, timeout=PATIENCE)
    with Supervisor.start(state_dir=link) as other, pytest.raises(ConversationInUse):
        other.create_agent(model.openai_config(conversation_id=CONVERSATION), timeout=PATIENCE)


def test_the_members_of_a_pool_cannot_share_a_conversation(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.openai_config(conversation_id=CONVERSATION)

    with pytest.raises(AgentStartError, match=CONVERSATION):
        supervisor.create_pool(config, size=2, keep_conversation=True, timeout=PATIENCE)


def test_a_pool_without_memory_refuses_the_id_of_a_conversation(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    config = model.openai_config(conversation_id=CONVERSATION)

    with pytest.raises(InvalidConfig, match=r"conversation_id.*keep_conversation=True"):
        supervisor.create_pool(config, size=1, timeout=PATIENCE)


def test_a_failed_start_leaves_the_conversation_free(
    first: SupervisorRef, other: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    broken = model.openai_config(env=fake_harness(tmp_path / "bin", "exit 3"))

    with pytest.raises(AgentStartError):
        first.create_agent(broken, name="poet", timeout=PATIENCE)

    assert locks(tmp_path) == []
    other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)


def test_an_agent_that_is_renewed_after_an_error_keeps_its_conversation(
    first: SupervisorRef, other: SupervisorRef, configure: Configure, model: ScriptedModel
) -> None:
    agent = first.create_agent(configure(), name="poet")
    for _ in range(3):
        model.then(http_error(401))
        with pytest.raises(ModelError):
            agent.ask(Chat("bad"), timeout=PATIENCE)
        agent.ask(Chat("good"), timeout=PATIENCE)

        with pytest.raises(ConversationInUse):
            other.create_agent(configure(), name="poet", timeout=PATIENCE)


@pytest.mark.own_processes
def test_a_crashed_agent_frees_its_conversation_and_is_given_up_if_it_stays_in_use(
    other: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    gate = threading.Event()

    def wait(attempt: Any) -> float:
        if attempt.attempt_number == 1:  # The second failure: the first one's restart is at once.
            gate.wait(PATIENCE)
        return 0.0

    with Supervisor.start(
        state_dir=tmp_path, max_restarts=3, backoff=Backoff(wait=wait)
    ) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), name="poet")
        for _ in range(2):
            agent.ask(Chat("hi"), timeout=PATIENCE)
            kill_harness(agent)
        wait_until_free(tmp_path)
        owner = other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
        gate.set()

        with pytest.raises(AgentDeadError, match="ConversationInUse"):
            agent.ask(Chat("hi"), timeout=PATIENCE)

        assert owner.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"


@pytest.mark.parametrize("asleep", [False, True], ids=["busy", "falling-asleep"])
def test_the_next_incarnation_of_an_agent_that_hung_gets_the_conversation_and_keeps_it(
    other: SupervisorRef,
    model: ScriptedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asleep: bool,
) -> None:
    release, hangs = threading.Event(), threading.Event()
    close = Session.close
    hung: list[threading.Thread] = []

    def block() -> str:
        if not hung:
            hung.append(threading.current_thread())
            hangs.set()
            release.wait(PATIENCE)
        return "done"

    async def hang(self: Session, **options: Any) -> None:
        block()
        await close(self, **options)

    async def tool() -> str:
        """Hang."""
        return block()

    if asleep:
        monkeypatch.setattr(Session, "close", hang)
    with Supervisor.start(state_dir=tmp_path, hang_timeout=0.3) as supervisor:
        config = model.openai_config(tools=[tool])
        agent = supervisor.create_agent(config, name="poet", idle_timeout=SHORT if asleep else None)
        if not asleep:
            model.then(call_tool("tool"))
            with contextlib.suppress(Exception):
                agent.ask(Chat("hang"), timeout=PATIENCE)
        assert hangs.wait(PATIENCE)
        agent.ask(Chat("after"), timeout=PATIENCE)
        agent.ask(Chat("more"), timeout=PATIENCE)
        release.set()
        hung[0].join(PATIENCE)
        assert not hung[0].is_alive()

        if not asleep:
            with pytest.raises(ConversationInUse):
                other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
        assert agent.ask(Chat("end"), timeout=PATIENCE).text == "echo: end"


def test_a_conversation_that_another_agent_has_open_is_not_deleted(
    first: SupervisorRef, other: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    sleeper = first.create_agent(model.openai_config(), name="poet", idle_timeout=SHORT)
    sleep(sleeper)
    wait_until_free(tmp_path)
    owner = other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
    owner.ask(Chat("kept"), timeout=PATIENCE)

    with pytest.raises(ConversationInUse, match="cannot delete"):
        sleeper.ask(Delete(), timeout=PATIENCE)

    owner.stop(timeout=PATIENCE)
    assert not sleeper.is_alive()
    keeper = other.create_agent(model.openai_config(), name="poet", timeout=PATIENCE)
    assert said(keeper) == ["kept", "echo: kept"]
    keeper.ask(Delete(), timeout=PATIENCE)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_sleeping_agent_has_no_descriptor_of_its_conversation(
    first: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    agent = first.create_agent(model.openai_config(), name="poet", idle_timeout=SHORT)
    sleep(agent)
    wait_until_free(tmp_path)

    opened = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]


def test_a_lock_file_that_cannot_be_made_is_an_error_that_names_it(
    first: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    path = tmp_path / f"{CONVERSATION}.lock"
    path.mkdir()

    with pytest.raises(AgentStartError, match=rf"cannot be made.*{CONVERSATION}\.lock"):
        first.create_agent(model.openai_config(conversation_id=CONVERSATION), timeout=PATIENCE)

    path.rmdir()
    first.create_agent(model.openai_config(conversation_id=CONVERSATION), timeout=PATIENCE)


def test_simulated_agents_need_no_lock_file(tmp_path: Path) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        agents = [
            supervisor.create_agent(SimulatedAgent(conversation_id=CONVERSATION)) for _ in range(2)
        ]

        assert [agent.ask(Chat("hi"), timeout=PATIENCE).text for agent in agents] == ["hi"] * 2
        assert list(tmp_path.iterdir()) == []


# Other programs.

PROGRAM = """
import json, multiprocessing, os, sys, time
from google.antigravity import LocalOpenAIAgentConfig
from agy_actors import AgyActorsError, Chat, GetHistory, Supervisor
url, state_dir = sys.argv[1:]
config = LocalOpenAIAgentConfig(base_url=url, model="m").lightweight()
supervisor = Supervisor.start(state_dir=state_dir)
agent = None
children = []
def fork():
    child = os.fork()
    if child == 0:
        time.sleep(600)
    return child
for line in sys.stdin:
    command, _, rest = line.strip().partition(" ")
    try:
        if command == "create":
            idle = float(rest) if rest else None
            agent = supervisor.create_agent(config, name="poet", idle_timeout=idle)
            answer = None
        elif command == "ask":
            answer = agent.ask(Chat(rest)).text
        elif command == "history":
            answer = [step.content for step in agent.ask(GetHistory())]
        elif command == "fork":
            answer = fork()
        elif command == "multiprocessing":
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            process.start()
            answer = process.pid
        elif command == "stop":
            supervisor.stop()
            answer = None
        print(json.dumps(answer), flush=True)
    except AgyActorsError as error:
        print(json.dumps({"error": type(error).__name__, "pid": getattr(error, "pid", None)}),
              flush=True)
os._exit(0)
"""


class Program:
    """Another program on the same folder."""

    def __init__(self, model: ScriptedModel, folder: Path) -> None:
        self._popen = Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, model.base_url, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._popen.pid
        self._children: list[int] = []

    def do(self, command: str) -> Any:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(f"{command}\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())

    def fork(self, how: str) -> None:
        self._children.append(self.do(how))

    def children_live(self) -> bool:
        return all(psutil.pid_exists(child) for child in self._children)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def end(self) -> None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._popen.stdin.close()
        self._popen.wait(PATIENCE)
        self._popen.stdout.close()


@pytest.fixture
def programs(model: ScriptedModel, tmp_path: Path) -> Iterator[list[Program]]:
    programs = [Program(model, tmp_path) for _ in range(2)]
    yield programs
    for program in programs:
        program.end()


def test_the_second_program_is_refused_until_the_first_stops(programs: list[Program]) -> None:
    one, two = programs
    assert one.do("create") is None

    assert two.do("create") == {"error": "ConversationInUse", "pid": one.pid}
    assert one.do("ask one") == "echo: one"
    assert two.do("create") == {"error": "ConversationInUse", "pid": one.pid}
    assert one.do("stop") is None

    assert two.do("create") is None
    assert two.do("ask two") == "echo: two"
    assert two.do("history") == ["one", "echo: one", "two", "echo: two"]


@pytest.mark.slow
def test_programs_that_take_turns_by_sleeping_lose_nothing(
    programs: list[Program], tmp_path: Path
) -> None:
    for program in programs:
        wait_until_free(tmp_path)
        assert program.do("create 0.05") is None
    one, two = programs
    everything: list[str] = []

    for number, program in enumerate((one, two, one, two, one)):
        wait_until_free(tmp_path)
        assert program.do(f"ask {number}") == f"echo: {number}"
        everything += [f"{number}", f"echo: {number}"]
        assert program.do("history") == everything


@pytest.mark.parametrize("how", quick(["fork", "multiprocessing"], 0))
def test_a_killed_program_frees_its_conversation_although_its_children_live(
    programs: list[Program], how: str
) -> None:
    one, two = programs
    one.fork(how)
    one.do("create")
    one.do("ask one")
    assert two.do("create") == {"error": "ConversationInUse", "pid": one.pid}

    one.kill()

    assert two.do("create") is None
    assert one.children_live()
    assert two.do("ask two") == "echo: two"
    assert two.do("history") == ["one", "echo: one", "two", "echo: two"]


@pytest.mark.parametrize("how", quick(["fork", "multiprocessing"], 0))
def test_a_program_that_stops_its_agent_frees_the_conversation_although_its_children_live(
    programs: list[Program], how: str
) -> None:
    one, two = programs
    one.do("create")
    one.fork(how)
    one.do("stop")

    assert two.do("create") is None
    assert one.children_live()
    assert one.do("create")["error"] == "AgentDeadError"


def test_the_sdk_by_itself_is_an_owner_too(
    model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no lock of ours, but its harness has the database open."""
    monkeypatch.setattr(_session, "HELD", 0.2)
    config = model.openai_config(conversation_id=CONVERSATION, save_dir=str(tmp_path))
    agent = supervisor.create_agent(config)
    pid = agent.ask(GetStatistics()).harness_pid
    with monkeypatch.context() as patch:
        patch.setattr("agy_actors._sdk.conversation_lock.ConversationLock.take", lambda *_: None)
        with pytest.raises(ConversationInUse) as caught:
            supervisor.create_agent(config, timeout=PATIENCE)

    assert (caught.value.pid, caught.value.since) == (pid, None)


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("begin")
connection.execute("select * from sqlite_master").fetchall()
print("reading", flush=True)
input()
"""


@pytest.mark.slow
def test_a_reader_of_a_conversation_prevents_no_agent_from_opening_it(
    first: SupervisorRef, model: ScriptedModel, tmp_path: Path
) -> None:
    config = model.openai_config(conversation_id=CONVERSATION)
    agent = first.create_agent(config)
    agent.ask(Chat("hi"), timeout=PATIENCE)
    reader = Popen(
        [sys.executable, "-c", READER, str(tmp_path / f"{CONVERSATION}.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"reading\n"

    agent.ask(Disconnect(), timeout=PATIENCE)
    again = first.create_agent(config, timeout=PATIENCE)

    assert said(again) == ["hi", "echo: hi"]
    reader.communicate(b"\n", timeout=PATIENCE)
