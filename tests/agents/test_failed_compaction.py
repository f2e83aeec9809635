"""A failed request for a summary must not end a conversation."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import google.antigravity.types as sdk
import pytest
from google.antigravity.types import CompactionConfig

from agy_actors import (
    AgentRef,
    Cancel,
    Chat,
    CompactionFailed,
    GetCompactionIndices,
    ModelError,
    Supervisor,
    TurnCancelled,
)
from agy_actors._agents.turn import Turn
from agy_actors._sdk import mend_conversation as mending
from agy_actors._sdk.failed_compaction import remove_failed_compaction
from agy_actors._sdk.stderr_hints import read_retry
from agy_actors.testing import Reply, drop, http_error, say, silence
from tests.agents.agents import RETRY_AT_ONCE, Configure
from tests.harnesses import PATIENCE, pid_of

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import AgentConfig

    from agy_actors import SupervisorRef
    from agy_actors.testing import ModelRequest, ScriptedModel

SUMMARY = "You have been working on the task"
FAULTS = {
    "503": http_error(503),
    "429": http_error(429, "Too Many Requests. Please try again in 0.01 s."),
    "400": http_error(400),
    "dropped": drop(),
}
PROMPT, ANSWER, MESSAGE, CHECKPOINT = 14, 15, 17, 23
DONE, CANCELLED, RUNNING, FAILED = 3, 6, 2, 7


class Summaries:
    """The requests for a summary, which fail until `fail` is unset."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        self.fail = True
        self.asked = threading.Event()

    def refuse_with(self, fault: Reply) -> None:
        """Let the model refuse them, and answer prompts with "long" at length."""
        self._model.when(self._fails, fault)
        summary = say("<summary>the summary so far</summary>")
        self._model.when(lambda request: SUMMARY in str(request.body), summary)
        self._model.when("long", say("word " * 1500, chunks=5000))

    def _fails(self, request: ModelRequest) -> bool:
        if not self.fail or SUMMARY not in str(request.body):
            return False
        self.asked.set()
        return True


@pytest.fixture
def summaries(model: ScriptedModel) -> Summaries:
    return Summaries(model)


@pytest.fixture
def config(configure: Configure) -> AgentConfig:
    """The configuration of an agent that needs a summary in its third long turn."""
    return configure(
        compaction_config=CompactionConfig(token_threshold=5000), retry_config=RETRY_AT_ONCE
    )


def have_long_turns(agent: AgentRef, count: int) -> None:
    for number in range(count):
        agent.ask(Chat(f"long {number} {'more ' * 500}"))


def fail_compaction(agent: AgentRef) -> ModelError:
    have_long_turns(agent, 2)
    with pytest.raises(ModelError) as failed:
        have_long_turns(agent, 1)
    return failed.value


def leave_as_it_is(_: Path) -> None:
    """Repair no conversation, as before there was a repair."""


# On the harness.


@pytest.mark.parametrize("fault", FAULTS)
def test_a_compaction_fails(
    config: AgentConfig,
    supervisor: SupervisorRef,
    model: ScriptedModel,
    summaries: Summaries,
    fault: str,
) -> None:
    summaries.refuse_with(FAULTS[fault])
    agent = supervisor.create_agent(config, "ada")

    error = fail_compaction(agent)
    summaries.fail = False
    before = len(model.requests)
    reply = agent.ask(Chat("and on"))

    assert error.status == (int(fault) if fault.isdecimal() else None)
    assert reply.text == "echo: and on"
    summary, turn = (str(request.body) for request in model.requests[before:])
    assert "long 0" in summary  # The conversation so far is summarised.
    assert "long 1" in summary
    assert "Resuming from a compaction" in turn
    assert agent.ask(Chat("further")).text == "echo: further"
    assert len(agent.ask(GetCompactionIndices())) == 1


def test_each_failure_of_a_compaction_has_its_own_request(
    config: AgentConfig, supervisor: SupervisorRef, model: ScriptedModel, summaries: Summaries
) -> None:
    summaries.refuse_with(http_error(400))
    agent = supervisor.create_agent(config, "ada")
    fail_compaction(agent)

    for _ in range(3):
        before = len(model.requests)
        with pytest.raises(ModelError):
            agent.ask(Chat("again"))
        assert len(model.requests) == before + 1


def test_a_conversation_that_an_earlier_run_left_blocked_continues(
    config: AgentConfig, summaries: Summaries, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summaries.refuse_with(http_error(400))
    with monkeypatch.context() as patch, Supervisor.start(state_dir=tmp_path) as supervisor:
        patch.setattr(mending, "remove_failed_compaction", leave_as_it_is)
        agent = supervisor.create_agent(config, "ada")
        fail_compaction(agent)
        with pytest.raises(CompactionFailed):
            agent.ask(Chat("blocked"))
    summaries.fail = False

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        again = supervisor.create_agent(config, "ada")
        assert again.ask(Chat("and on")).text == "echo: and on"


def test_a_conversation_that_cannot_be_mended_is_named_by_a_typed_error(
    config: AgentConfig,
    supervisor: SupervisorRef,
    model: ScriptedModel,
    summaries: Summaries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mending, "remove_failed_compaction", leave_as_it_is)
    summaries.refuse_with(http_error(429))
    agent = supervisor.create_agent(config, "ada")
    fail_compaction(agent)
    before = len(model.requests)
    [pace] = supervisor.pace().values()

    for _ in range(3):
        with pytest.raises(CompactionFailed, match=r"'ada' cannot go on.*429.*Delete") as failed:
            agent.ask(Chat("blocked"))
        assert not failed.value.retryable

    assert len(model.requests) == before
    # An old refusal of the service delays no turn.
    assert [later.refusals for later in supervisor.pace().values()] == [pace.refusals]


def test_a_cancelled_or_killed_compaction_does_not_count_as_failed(
    config: AgentConfig, supervisor: SupervisorRef, model: ScriptedModel, summaries: Summaries
) -> None:
    summaries.refuse_with(silence())
    agent = supervisor.create_agent(config, "ada")
    have_long_turns(agent, 2)
    turn = agent.ask(Chat("long and cancelled"), block=False)
    assert summaries.asked.wait(PATIENCE)
    agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        turn.get(timeout=PATIENCE)
    summaries.asked.clear()
    turn = agent.ask(Chat("killed"), block=False)
    assert summaries.asked.wait(PATIENCE)
    summaries.fail = False
    os.kill(pid_of(agent), signal.SIGKILL)

    assert turn.get(timeout=PATIENCE).text == "echo: killed"
    assert agent.ask(Chat("and on")).text == "echo: and on"


# The database.


def make_database(path: Path, steps: list[tuple[int, int]]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE steps (idx INTEGER PRIMARY KEY, step_type, status)")
        rows = [(index, *step) for index, step in enumerate(steps)]
        connection.executemany("INSERT INTO steps VALUES (?, ?, ?)", rows)


def read_steps(path: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT step_type, status FROM steps ORDER BY idx").fetchall()


TURN = [(PROMPT, DONE), (ANSWER, DONE)]
BLOCKED = [(PROMPT, DONE), (MESSAGE, DONE)]


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [(MESSAGE, DONE)],
        [(MESSAGE, DONE), *BLOCKED, *BLOCKED],
        [(MESSAGE, DONE), (PROMPT, DONE), (CHECKPOINT, FAILED), (MESSAGE, DONE)],
    ],
)
def test_a_conversation_continues_from_before_a_failed_compaction(
    tmp_path: Path, rest: list[tuple[int, int]]
) -> None:
    database = tmp_path / "some.db"
    steps = [*TURN, (PROMPT, DONE)]
    make_database(database, [*steps, (CHECKPOINT, FAILED), *rest])

    assert remove_failed_compaction(database) == 3
    assert read_steps(database) == steps
    assert remove_failed_compaction(database) is None


@pytest.mark.parametrize(
    "steps",
    [
        [],
        TURN,
        [*TURN, (PROMPT, DONE), (MESSAGE, DONE)],  # An error without a compaction.
        [*TURN, (PROMPT, DONE), (CHECKPOINT, DONE), (ANSWER, DONE)],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, CANCELLED)],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, RUNNING)],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, CANCELLED), *TURN],
        # If one continues nevertheless.
        [*TURN, (PROMPT, DONE), (CHECKPOINT, FAILED), (ANSWER, DONE)],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, FAILED), (CHECKPOINT, DONE)],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, FAILED), (MESSAGE, DONE), *TURN],
        [*TURN, (PROMPT, DONE), (CHECKPOINT, FAILED), (MESSAGE, DONE), (132, DONE)],
    ],
)
def test_other_conversations_stay_as_they_are(tmp_path: Path, steps: list[tuple[int, int]]) -> None:
    database = tmp_path / "some.db"
    make_database(database, steps)

    assert remove_failed_compaction(database) is None
    assert read_steps(database) == steps


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\0" + bytes(84)])
def test_a_file_that_is_not_a_conversation_stays_as_it_is(
    tmp_path: Path, content: bytes | None
) -> None:
    database = tmp_path / "some.db"
    if content is not None:
        database.write_bytes(content)

    assert remove_failed_compaction(database) is None
    assert (database.read_bytes() if database.exists() else None) == content


# The harness's texts.

FAILURE = (
    'Agent execution terminated due to error. ("agent executor error: context summarization:'
    " checkpoint step {} failed: error executing cascade step: CORTEX_STEP_TYPE_CHECKPOINT: HTTP"
    ' request failed with status 429: quota")'
)


def error_step(index: int, text: str, **fields: Any) -> sdk.Step:
    return sdk.Step(
        step_index=index,
        source=fields.pop("source", sdk.StepSource.SYSTEM),
        status=sdk.StepStatus.ERROR,
        error=text,
        **fields,
    )


def prompt_step(index: int) -> sdk.Step:
    return sdk.Step(
        step_index=index, source=sdk.StepSource.USER, status=sdk.StepStatus.DONE, content="hi"
    )


def failed_turn(*steps: sdk.Step) -> Turn:
    turn = Turn()
    for step in steps:
        assert not list(turn.observe(step))
    assert turn.failure is not None
    return turn


def test_a_failed_compaction_of_an_earlier_turn_is_distinguished_from_one_of_this_turn() -> None:
    earlier = failed_turn(prompt_step(7), error_step(8, FAILURE.format(5)))
    own = failed_turn(prompt_step(4), error_step(6, FAILURE.format(5)))

    assert earlier.compaction_failed
    assert not own.compaction_failed


@pytest.mark.parametrize(
    "step",
    [
        error_step(8, FAILURE.format(5), source=sdk.StepSource.MODEL),
        error_step(8, FAILURE.format(5), parent_trajectory_id="of a subagent's agent"),
        error_step(8, "HTTP request failed with status 429: quota"),
        error_step(8, "the tool said: checkpoint step 5 failed"),
    ],
)
def test_other_errors_are_not_a_failed_compaction(step: sdk.Step) -> None:
    assert not failed_turn(prompt_step(7), step).compaction_failed
    assert not failed_turn(step).compaction_failed


def test_a_turn_that_continues_after_a_failed_compaction_has_not_failed() -> None:
    turn = failed_turn(prompt_step(7), error_step(8, FAILURE.format(5)))
    list(
        turn.observe(
            sdk.Step(
                step_index=9,
                source=sdk.StepSource.MODEL,
                target=sdk.StepTarget.USER,
                content_delta="here it is",
            )
        )
    )

    assert not turn.compaction_failed
    assert turn.failure is None


def test_the_repeated_report_of_a_failed_compaction_is_not_a_retry() -> None:
    line = f"ERROR: logging before google.Init: E1127 07:13:43.8 23 errorreport.go:224] {FAILURE}"

    assert read_retry(line.format(5)) is None
