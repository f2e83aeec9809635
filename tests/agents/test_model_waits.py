"""The reports of an agent about repeated requests, and about silence."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import ModelAPIRetryConfig, RetryConfig
from loguru import logger

from agy_actors import Cancel, Chat, Event, ModelError, ModelRetrying, ModelSilent, TurnCancelled
from agy_actors._agents import model_waits
from agy_actors._agents.model_waits import FailedRequests, read_wait
from agy_actors._sdk.stderr_hints import SKEW
from agy_actors.testing import ScriptedModel, http_error, say, silence
from tests.agents.agents import RETRY_AT_ONCE
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import AgentRef, SupervisorRef

SHORT = 0.05


@pytest.fixture
def events(supervisor: SupervisorRef) -> list[Event]:
    events: list[Event] = []
    supervisor.subscribe(events.append)
    return events


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    def note(message: Any) -> None:
        record = message.record
        lines.append(f"{record['level']} {record['extra'].get('agent')} {record['message']}")

    sink = logger.add(note, level="DEBUG")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


def retries(events: list[Event]) -> list[ModelRetrying]:
    return [event for event in events if isinstance(event, ModelRetrying)]


def silences(events: list[Event]) -> list[ModelSilent]:
    return [event for event in events if isinstance(event, ModelSilent)]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Encountered retryable api error. retrying in 4s. Error (): x", 4.0),
        ("Encountered retryable api error. retrying in 6.469629875s. Error (): x", 6.469629875),
        ("retrying in 1m30s. Error", 90.0),
        ("retrying in 1h0m0.5s. Error", 3600.5),
        ("retrying in 850ms. Error", 0.85),
        ("retrying in 20µs. Error", 0.00002),
        ("retrying in a while", None),
        ("it failed", None),
    ],
)
def test_the_wait_for_the_next_request_is_read(words: str, seconds: float | None) -> None:
    assert read_wait(words) == pytest.approx(seconds)


class TestFailedRequests:
    def test_a_line_and_the_step_that_follows_are_one_request(self) -> None:
        failed = FailedRequests()

        assert failed.note_line(0.0) == 1
        assert failed.note_step(4.0) is None
        assert failed.note_line(4.1) == 2
        assert failed.note_step(10.0) is None

    def test_a_step_that_overtakes_its_line_is_the_same_request(self) -> None:
        failed = FailedRequests()

        assert failed.note_step(0.0) == 1
        assert failed.note_line(SKEW) is None
        assert failed.note_line(2 * SKEW) == 2

    def test_if_lines_are_missing_steps_report_the_requests(self) -> None:
        failed = FailedRequests()

        assert failed.note_step(4.0) == 1
        assert failed.note_step(10.0) == 2
        assert failed.note_line(20.0) == 3
        assert failed.note_step(30.0) is None


def test_each_request_that_the_harness_repeats_is_reported_at_once(
    model: ScriptedModel, supervisor: SupervisorRef, events: list[Event], log: list[str]
) -> None:
    model.when("hi", http_error(503, "MARK secret-key"))
    slow = RetryConfig(
        api_retry=ModelAPIRetryConfig(max_retries=9, initial_sleep_duration_ms=60_000)
    )
    config = model.gemini_config(retry_config=slow, api_key="secret-key")
    agent = supervisor.create_agent(config, "poet")
    turn = agent.ask(Chat("hi"), block=False)

    until(lambda: bool(retries(events)))

    (event,) = retries(events)
    assert (event.agent, event.turn, event.attempt) == ("poet", 1, 1)
    assert event.reason == "Error 503, Message: MARK [redacted], Status: UNAVAILABLE, Details: []"
    assert event.next_wait == 60.0
    assert (
        "WARNING poet Request 1 to the model was answered with 503; the harness repeats it in"
        " 60.0 seconds"
    ) in log
    assert agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        turn.get(timeout=PATIENCE)
    assert "secret-key" not in "".join(log) + repr(events)


def test_every_attempt_is_reported_and_the_last_failure_is_the_turns_error(
    model: ScriptedModel, supervisor: SupervisorRef, events: list[Event]
) -> None:
    model.when("hi", http_error(503, "MARK"))
    agent = supervisor.create_agent(model.gemini_config(retry_config=RETRY_AT_ONCE))

    with pytest.raises(ModelError) as caught:
        agent.ask(Chat("hi"), timeout=PATIENCE)

    assert [event.attempt for event in retries(events)] == [1, 2]
    assert str(caught.value).endswith(
        ": Error 503, Message: MARK, Status: UNAVAILABLE, Details: []"
    )
    assert str(caught.value).count("MARK") == 1
    agent.ask(Chat("next"), timeout=PATIENCE)
    assert len(retries(events)) == 2


def test_a_failure_that_the_harness_does_not_repeat_is_not_a_retry(
    model: ScriptedModel, supervisor: SupervisorRef, events: list[Event]
) -> None:
    model.then(http_error(503, "MARK"), http_error(401, "NO"))
    openai = supervisor.create_agent(model.openai_config())
    gemini = supervisor.create_agent(model.gemini_config())

    for agent in (openai, gemini):
        with pytest.raises(ModelError):
            agent.ask(Chat("hi"), timeout=PATIENCE)

    assert retries(events) == []


def test_turns_that_share_a_process_get_no_reports_of_other_turns_retries(
    model: ScriptedModel, supervisor: SupervisorRef, events: list[Event]
) -> None:
    gate = threading.Event()
    model.when("well", say("well", gate=gate, gate_after=0))
    model.when("ill", *[http_error(503, "MARK")] * 2, say("ill"))
    well = supervisor.create_agent(model.gemini_config(), "well")
    ill = supervisor.create_agent(model.gemini_config(retry_config=RETRY_AT_ONCE), "ill")
    waiting = well.ask(Chat("well"), block=False)
    model.wait_for_requests(1)

    assert ill.ask(Chat("ill"), timeout=PATIENCE).text == "ill"

    gate.set()
    waiting.get(timeout=PATIENCE)
    assert {event.agent for event in retries(events)} == {"ill"}
    assert [event.attempt for event in retries(events)] == [1, 2]


@pytest.fixture(params=["openai", "gemini"])
def poet(
    request: pytest.FixtureRequest,
    model: ScriptedModel,
    supervisor: SupervisorRef,
    monkeypatch: pytest.MonkeyPatch,
) -> AgentRef:
    """An agent that soon reports silence."""
    monkeypatch.setattr(model_waits, "SILENCE", SHORT)
    configure = model.openai_config if request.param == "openai" else model.gemini_config
    return supervisor.create_agent(configure(), "poet")


@pytest.mark.parametrize("said", ["", "Once upon "])
def test_silence_is_reported(
    model: ScriptedModel, poet: AgentRef, events: list[Event], log: list[str], said: str
) -> None:
    model.then(silence(said))
    turn = poet.ask(Chat("hi"), block=False)

    until(lambda: any(event.seconds >= 2 * SHORT for event in silences(events)))

    assert {(event.agent, event.turn) for event in silences(events)} == {("poet", 1)}
    assert "INFO poet Nothing has come from the model for 0 seconds" in log
    assert poet.ask(Cancel())
    with pytest.raises(TurnCancelled):
        turn.get(timeout=PATIENCE)
