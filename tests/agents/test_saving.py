"""Turns that are answered but not saved are reported."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from loguru import logger

from agy_actors import Chat, StateNotSaved, Supervisor
from agy_actors._sdk.save_episode import Episode
from agy_actors._sdk.save_watch import NotSaved, read_failed_write
from agy_actors._sdk.wal_index import read_committed
from agy_actors.testing import say
from tests.harnesses import pid_of, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors import AgentRef, Event, SupervisorRef
    from agy_actors._sdk.wal_index import Committed
    from agy_actors.testing import ModelRequest, ScriptedModel
    from tests.agents.agents import Configure

pytestmark = pytest.mark.new_processes

ID = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
LOG = "ERROR: logging before google.Init: E1127 07:13:43.844651      23 errorreport.go:224] "
TRANSCRIPT = f"/state/app_data/brain/{ID}/.system_generated/logs/transcript.jsonl"

has_limits = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits other processes")


class Told:
    """Keeps the reports of unsaved turns."""

    def __init__(self) -> None:
        self.events: list[StateNotSaved] = []

    def note(self, event: Event) -> None:
        if isinstance(event, StateNotSaved):
            self.events.append(event)

    def of(self, agent: str) -> list[StateNotSaved]:
        return [event for event in self.events if event.agent == agent]


@pytest.fixture
def told(supervisor: SupervisorRef) -> Told:
    told = Told()
    supervisor.subscribe(told.note, capacity=10_000)
    return told


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged as a WARNING or worse."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{level} {message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where it can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        pytest.skip("there is no tmpfs")
    options = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(disk)]
    done = subprocess.run([mount, *options], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    yield disk
    # Lazily: a process that has just ended may still have a file open.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def limit_files(agent: AgentRef, size: int) -> None:
    """Fail all writes of an agent's process that would make a file larger than that."""
    psutil.Process(pid_of(agent)).rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))


def lift_limit(agent: AgentRef) -> None:
    limit_files(agent, psutil.RLIM_INFINITY)


def database_of(folder: Path) -> Path:
    [database] = folder.glob("*.db")
    return database


def log_size(database: Path) -> int:
    return database.with_name(f"{database.name}-wal").stat().st_size


# On the harness.


def test_the_disk_of_conversations_is_full(
    configure: Configure, small_disk: Path, warnings: list[str]
) -> None:
    told = Told()
    with Supervisor.start(state_dir=small_disk) as supervisor:
        supervisor.subscribe(told.note, capacity=10_000)
        agent = supervisor.create_agent(configure(), "ada")

        for number in range(12):
            agent.ask(Chat(f"turn {number}"))

    [event] = told.events
    assert event.agent == "ada"
    assert event.path.startswith(str(small_disk))
    assert event.reason == "no space left on device"
    [line] = warnings
    assert "'ada'" in line
    assert event.path in line
    assert event.reason in line


def test_a_full_disk_is_logged_without_a_subscriber(
    model: ScriptedModel, small_disk: Path, warnings: list[str]
) -> None:
    with Supervisor.start(state_dir=small_disk, max_conversations_per_process=1) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "ada")

        for number in range(12):
            agent.ask(Chat(f"turn {number}"))

    [line] = warnings
    assert "no space left on device" in line


def test_a_full_disk_with_only_the_database_is_noticed(
    configure: Configure, small_disk: Path, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    app_data = tmp_path / "transcripts"
    config = configure(save_dir=str(small_disk), app_data_dir=str(app_data))
    agent = supervisor.create_agent(config, "ada")

    for number in range(12):
        agent.ask(Chat(f"turn {number}"))

    until(lambda: bool(told.events))
    [event] = told.events
    assert event.path == str(database_of(small_disk))
    assert event.reason == "no space left on device"


@has_limits
def test_a_turn_that_is_not_saved_is_noticed_before_the_next_one_hides_it(
    configure: Configure, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    agent = supervisor.create_agent(configure(save_dir=str(tmp_path)), "ada")
    agent.ask(Chat("saved"))
    limit_files(agent, log_size(database_of(tmp_path)))
    agent.ask(Chat("not saved"))
    lift_limit(agent)

    agent.ask(Chat("saved again"))

    assert [event.path for event in told.events] == [str(database_of(tmp_path))]


@has_limits
def test_each_time_that_turns_are_not_saved_is_reported_once(
    model: ScriptedModel, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    agent = supervisor.create_agent(model.openai_config(save_dir=str(tmp_path)), "ada")
    for _ in range(2):
        for _ in range(3):
            agent.ask(Chat("saved"))
        limit_files(agent, log_size(database_of(tmp_path)))
        for _ in range(4):
            agent.ask(Chat("not saved"))
        lift_limit(agent)

    supervisor.shutdown_agent("ada")

    assert len(told.events) == 2


@has_limits
def test_the_last_turn_before_the_end_is_also_checked(
    model: ScriptedModel, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    agent = supervisor.create_agent(model.openai_config(save_dir=str(tmp_path)), "ada")
    agent.ask(Chat("saved"))
    limit_files(agent, log_size(database_of(tmp_path)))
    agent.ask(Chat("not saved"))

    supervisor.shutdown_agent("ada")

    until(lambda: bool(told.events))


@has_limits
def test_a_partly_saved_turn_is_noticed(
    model: ScriptedModel, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    agent = supervisor.create_agent(model.openai_config(save_dir=str(tmp_path)), "ada")
    agent.ask(Chat("saved"))
    # Three frames are committed before the model is asked. Only half a frame of the rest fits.
    limit_files(agent, log_size(database_of(tmp_path)) + 4 * 32792 + 16396)

    agent.ask(Chat("not saved"))

    until(lambda: bool(told.events))


@has_limits
def test_agents_that_share_a_process_get_reports_of_their_own_conversations(
    model: ScriptedModel, supervisor: SupervisorRef, told: Told
) -> None:
    names = ["ada", "ida"]
    first, second = (supervisor.create_agent(model.openai_config(), name) for name in names)
    assert pid_of(first) == pid_of(second)
    limit_files(first, 1)

    first.ask(Chat("not saved"))
    until(lambda: bool(told.events))
    assert [event.agent for event in told.events] == ["ada"]
    second.ask(Chat("not saved either"))

    until(lambda: bool(told.of("ida")))
    paths = [told.of(name)[0].path for name in names]
    assert paths[0] != paths[1]
    assert {event.reason for event in told.events} == {"file too large"}


def test_a_conversation_whose_files_are_removed_is_noticed(
    model: ScriptedModel, tmp_path: Path, supervisor: SupervisorRef, told: Told
) -> None:
    agent = supervisor.create_agent(model.openai_config(save_dir=str(tmp_path / "save")), "ada")
    agent.ask(Chat("saved"))
    shutil.rmtree(tmp_path / "save")

    agent.ask(Chat("not saved"))

    until(lambda: bool(told.events))
    assert told.events[0].path.startswith(str(tmp_path / "save"))
    assert told.events[0].reason == "no such file or directory"


def test_saved_turns_are_not_reported(
    configure: Configure, supervisor: SupervisorRef, told: Told, warnings: list[str]
) -> None:
    agent = supervisor.create_agent(configure(), "ada")

    for number in range(5):
        agent.ask(Chat(f"turn {number}"))
    supervisor.shutdown_agent("ada")

    assert not told.events
    assert not warnings


def test_a_turn_commits_before_the_model_is_asked_and_again_until_it_has_ended(
    configure: Configure, model: ScriptedModel, supervisor: SupervisorRef, tmp_path: Path
) -> None:
    commits: list[Committed | None] = []

    def look(_: ModelRequest) -> str:
        commits.append(read_committed(database_of(tmp_path)))
        return "answer"

    model.when("look", say(look))
    agent = supervisor.create_agent(configure(save_dir=str(tmp_path)), "ada")
    for _ in range(2):
        commits.append(read_committed(database_of(tmp_path)))
        agent.ask(Chat("look"))
    commits.append(read_committed(database_of(tmp_path)))

    assert None not in commits
    assert len({commit.header for commit in commits if commit is not None}) == 5


# The harness's lines.


@pytest.mark.parametrize(
    "failure",
    [
        f"write {TRANSCRIPT}: no space left on device",
        f"write {TRANSCRIPT}: disk quota exceeded",
        f"write {TRANSCRIPT}: input/output error",
        f"open {TRANSCRIPT}: read-only file system",
        f"open {TRANSCRIPT}: permission denied",
        f"open {TRANSCRIPT}: too many open files",
        f"mkdir {Path(TRANSCRIPT).parent}: no space left on device",
        f"close {TRANSCRIPT}: input/output error",
        f"sync /state/{ID}.db-wal: input/output error",
        "mkdir /state/app_data/other: read-only file system",
        "open /state/app_data/brain: permission denied",
    ],
)
def test_a_failure_to_write_is_read(failure: str) -> None:
    what, _, reason = failure.rpartition(": ")
    expected = NotSaved(what.partition(" ")[2], reason)

    for line in (LOG + failure, f"{LOG}cannot write transcript: {failure}", f"{LOG}{failure}\n"):
        assert read_failed_write(line, ID, ["/state"], ["/state/app_data"]) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Stdin closed, cleaning up...",
        # Another conversation.
        f"write {TRANSCRIPT.replace(ID, OTHER)}: no space left on device",
        f"sync /state/{OTHER}.db: input/output error",
        # Another folder, for example of a tool.
        "write /workspace/result.txt: no space left on device",
        "write /state/result.txt: no space left on device",
        "write /state/app_data_of_others/x: no space left on device",
        "write /state2/app_data/x: no space left on device",
        # Not about a write.
        f"open {TRANSCRIPT}: no such file or directory",
        f"read {TRANSCRIPT}: input/output error",
        f"stat {TRANSCRIPT}: permission denied",
        # No files.
        "write tcp 127.0.0.1:5000->127.0.0.1:6000: write: broken pipe",
        "Encountered retryable error: no space left on device (code 503)",
    ],
)
def test_other_lines_are_not_failures_to_write(line: str) -> None:
    assert read_failed_write(LOG + line, ID, ["/state"], ["/state/app_data"]) is None


def test_an_episode_is_reported_once_until_a_turn_was_saved() -> None:
    episode = Episode()
    reported = []
    for fails in (True, True, False, True, True):
        episode.begin_turn()
        news = [episode.note(), episode.note()] if fails else []
        reported.append(sum(news))

    assert reported == [1, 0, 0, 1, 0]


def test_an_episode_is_not_over_while_a_turn_may_be_unsaved() -> None:
    episode = Episode()
    episode.begin_turn()
    assert episode.note()
    for _ in range(3):
        episode.begin_turn(maybe_unsaved=True)

    assert not episode.note()


# SQLite's commits.


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A database that is open in WAL mode, and a function that executes a statement."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA cache_size=1")  # Pages go to the log before they are committed.
        connection.execute("CREATE TABLE texts (text)")
        yield path, lambda statement: connection.execute(statement).close()


def test_each_commit_is_found(database: tuple[Path, Callable[[str], None]]) -> None:
    path, execute = database
    before = read_committed(path)
    execute("INSERT INTO texts VALUES ('more')")
    after = read_committed(path)

    assert before is not None
    assert after is not None
    assert after.header != before.header
    assert after.salt == before.salt
    assert after.size == after.log_size > before.size == before.log_size


def test_uncommitted_bytes_are_found(database: tuple[Path, Callable[[str], None]]) -> None:
    path, execute = database
    before = read_committed(path)
    execute("BEGIN")
    execute("INSERT INTO texts VALUES (zeroblob(1000000))")
    after = read_committed(path)

    assert before is not None
    assert not before.has_rest
    assert after is not None
    assert after.has_rest
    assert after.header == before.header
    execute("ROLLBACK")


def test_a_restarted_log_differs(
    database: tuple[Path, Callable[[str], None]],
) -> None:
    path, execute = database
    execute("INSERT INTO texts VALUES (zeroblob(100000))")
    before = read_committed(path)
    execute("PRAGMA wal_checkpoint(FULL)")
    execute("INSERT INTO texts VALUES ('more')")
    after = read_committed(path)

    assert before is not None
    assert after is not None
    assert after.salt != before.salt
    assert after.size < after.log_size


@pytest.mark.parametrize(
    "index", [None, b"", b"\0" * 96, os.urandom(96)], ids=["none", "empty", "zeros", "noise"]
)
def test_an_invalid_index_returns_none(tmp_path: Path, index: bytes | None) -> None:
    (tmp_path / "some.db").touch()
    (tmp_path / "some.db-wal").touch()
    if index is not None:
        (tmp_path / "some.db-shm").write_bytes(index)

    assert read_committed(tmp_path / "some.db") is None
