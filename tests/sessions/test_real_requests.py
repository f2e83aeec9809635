"""Durable requests with the real harness, in one run, and in programs that are killed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    Chat,
    InvalidConfig,
    InvalidPrompt,
    ModelError,
    ReplyCancelled,
    RequestConflict,
    RequestNotFound,
    RequestState,
    Supervisor,
    TurnCancelled,
    TurnInterrupted,
)
from agy_actors._sessions import request_runner
from agy_actors.testing import ScriptedModel, http_error
from tests.agents.agents import RETRY_AT_ONCE
from tests.agents.held_turns import Held
from tests.harnesses import PATIENCE, until
from tests.sessions.session_programs import (
    Program,
    ProgramDied,
    folder_in,
    prompts_of,
    run,
    wait_until_asked,
    was_asked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import Sessions


@pytest.fixture
def held(model: ScriptedModel) -> Iterator[Held]:
    held = Held(model)
    yield held
    held.let_go()


@pytest.fixture
def users(tmp_path: Path, model: ScriptedModel) -> Iterator[Sessions]:
    with run(tmp_path, model) as users:
        yield users


# In one run.


def test_a_request_is_answered_and_its_receipt_tells_its_state(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    receipt = users.submit("ada", Chat("hold", metadata={"n": 1}), id="job 1")
    wait_until_asked(model, "hold")
    assert (receipt.id, receipt.key) == ("job 1", "ada")
    assert [receipt.state] == [RequestState.RUNNING]
    assert not receipt.done()
    with pytest.raises(AskTimeout):
        receipt.result(timeout=0.05)
    assert not receipt.cancel()

    held.let_go()

    reply = receipt.result(timeout=PATIENCE)
    assert (reply.text, reply.metadata, receipt.attempts) == ("held", {"n": 1}, 1)
    assert receipt.state is RequestState.DONE
    assert receipt.done()
    assert not receipt.cancel()
    assert prompts_of(users["ada"]) == ["hold"]


def test_the_same_id_is_the_same_request(users: Sessions, model: ScriptedModel) -> None:
    first = users.submit("ada", "hi", id="job")

    assert users.submit("ada", "hi", id="job") == first
    assert hash(users.submit("ada", Chat("hi"), id="job")) == hash(first)
    for key, prompt in (("bob", "hi"), ("ada", "something else")):
        with pytest.raises(RequestConflict, match="'job'"):
            users.submit(key, prompt, id="job")

    first.result(timeout=PATIENCE)
    assert users.submit("ada", "hi", id="job").result(timeout=PATIENCE).text == "echo: hi"
    assert was_asked(model, "hi") == 1
    assert users.submit("ada", "hi") != first


def test_requests_of_a_key_run_in_their_order_and_can_be_cancelled_before(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    receipts = [users.submit("ada", "hold", id="0")]
    wait_until_asked(model, "hold")
    receipts += [users.submit("ada", f"turn {n}", id=f"{n}") for n in range(1, 5)]
    assert users.submit("bob", "not delayed").result(timeout=PATIENCE).text == "echo: not delayed"
    assert [receipt.state for receipt in receipts] == [
        RequestState.RUNNING,
        *[RequestState.QUEUED] * 4,
    ]

    assert receipts[2].cancel()
    assert receipts[2].cancel()
    held.let_go()

    for receipt in (receipts[0], receipts[1], receipts[3], receipts[4]):
        receipt.result(timeout=PATIENCE)
    with pytest.raises(ReplyCancelled, match="'2'"):
        receipts[2].result(timeout=PATIENCE)
    assert receipts[2].done()
    assert prompts_of(users["ada"]) == ["hold", "turn 1", "turn 3", "turn 4"]


def test_receipts_lists_requests_by_key_and_state(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    users.submit("bob", "hi", id="b").result(timeout=PATIENCE)
    users.submit("ada", "hold", id="a")
    wait_until_asked(model, "hold")
    users.submit("ada", "later", id="c")

    def ids(**which: Any) -> list[str]:
        return [receipt.id for receipt in users.receipts(**which)]

    assert ids() == ["b", "a", "c"]
    assert ids(key="ada") == ["a", "c"]
    assert ids(state=RequestState.DONE) == ["b"]
    assert ids(key="ada", state=RequestState.QUEUED) == ["c"]
    assert users.receipt("a") == next(iter(users.receipts(key="ada")))
    assert users.receipt("none") is None


def test_the_error_of_a_turn_is_the_error_of_its_request(
    tmp_path: Path, model: ScriptedModel
) -> None:
    model.when("bad", http_error(400, "no such luck"))
    with run(tmp_path, model, model.openai_config(retry_config=RETRY_AT_ONCE)) as users:
        receipt = users.submit("ada", "bad", id="job")
        with pytest.raises(ModelError, match="no such luck"):
            receipt.result(timeout=PATIENCE)
        assert receipt.state is RequestState.FAILED

    with run(tmp_path, model) as users:
        receipt = next(users.receipts())
        with pytest.raises(ModelError, match="no such luck"):
            receipt.result(timeout=PATIENCE)


def test_requests_that_cannot_be_saved_are_refused(users: Sessions) -> None:
    chats: list[Chat[Any]] = [
        Chat("hi", metadata=object()),
        Chat("hi", response_schema=BaseModel),
    ]
    for chat in chats:
        with pytest.raises(InvalidPrompt):
            users.submit("ada", chat)
    with pytest.raises(InvalidPrompt):
        users.submit("ada", 5)  # type: ignore[arg-type]
    assert list(users.receipts()) == []


def test_without_a_state_dir_no_request_is_accepted(model: ScriptedModel) -> None:
    with Supervisor.start() as supervisor:
        users = supervisor.create_sessions(model.openai_config(), name="users")
        with pytest.raises(InvalidConfig, match="state_dir"):
            users.submit("ada", "hi")


def test_a_delete_cancels_the_requests_of_the_session(
    users: Sessions, model: ScriptedModel, held: Held
) -> None:
    running = users.submit("ada", "hold", id="0")
    wait_until_asked(model, "hold")
    queued = [users.submit("ada", "next", id=f"{n}") for n in (1, 2)]
    other = users.submit("bob", "hold", id="3")

    assert users.delete("ada", timeout=PATIENCE)

    held.let_go()
    for receipt in queued:
        with pytest.raises(ReplyCancelled):
            receipt.result(timeout=PATIENCE)
        assert receipt.state is RequestState.CANCELLED
    with pytest.raises((AgentDeadError, TurnCancelled)):
        running.result(timeout=PATIENCE)
    assert other.result(timeout=PATIENCE).text == "held"
    assert list(users) == ["bob"]
    assert users.submit("ada", "new").result(timeout=PATIENCE).text == "echo: new"
    assert prompts_of(users["ada"]) == ["new"]


def test_results_are_forgotten_after_keep_results(
    tmp_path: Path, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_runner, "_FORGET_EVERY", 0.05)
    with run(tmp_path, model, keep_results=0.05) as users:
        receipt = users.submit("ada", "hi", id="job")

        until(lambda: users.receipt("job") is None)

        for use in (lambda: receipt.state, receipt.done, lambda: receipt.result(timeout=PATIENCE)):
            with pytest.raises(RequestNotFound, match=r"'job'.*keep_results"):
                use()
        assert prompts_of(users["ada"]) == ["hi"]


# In a later run.


def test_the_result_is_there_in_a_later_run(tmp_path: Path, model: ScriptedModel) -> None:
    with run(tmp_path, model) as users:
        before = users.submit("ada", Chat("hi", metadata=[1]), id="job").result(timeout=PATIENCE)

    with run(tmp_path, model) as users:
        receipt = users.receipt("job")
        assert receipt is not None
        assert receipt.result(timeout=PATIENCE) == before
    assert was_asked(model, "hi") == 1


def test_an_orderly_stop_leaves_its_requests_to_the_next_run(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with run(tmp_path, model) as users:
        users.submit("ada", "hold", id="0")
        users.submit("ada", "next", id="1")
        wait_until_asked(model, "hold")

    held.let_go()
    with run(tmp_path, model) as users:
        results = [receipt.result(timeout=PATIENCE).text for receipt in users.receipts()]
        assert results == ["held", "echo: next"]
        assert prompts_of(users["ada"])[-1] == "next"


def test_a_request_whose_program_was_killed_in_its_turn_is_asked_again(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as program:
        program.do("submit", key="ada", prompt="hold", id="0")
        program.do("submit", key="ada", prompt="next", id="1")
        wait_until_asked(model, "hold")
        program.kill()

    held.let_go()
    with run(tmp_path, model) as users:
        first, second = users.receipts()
        assert first.result(timeout=PATIENCE).text == "held"
        assert first.attempts == 2
        assert second.result(timeout=PATIENCE).text == "echo: next"
        assert second.attempts == 1
        assert was_asked(model, "hold") == 2


@pytest.mark.slow
def test_a_request_whose_programs_were_killed_too_often_is_not_asked_again(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as program:
        program.do("submit", key="ada", prompt="hold", id="0")
        wait_until_asked(model, "hold")
        program.kill()
    with closing(sqlite3.connect(folder_in(tmp_path) / "requests.sqlite3")) as database:
        database.execute("UPDATE requests SET attempts = 5")
        database.commit()

    with run(tmp_path, model) as users:
        receipt = users.receipt("0")
        assert receipt is not None
        with pytest.raises(TurnInterrupted, match=r"died 5 times.*'0'.*'ada'"):
            receipt.result(timeout=PATIENCE)
        assert users["ada"].ask("next").text == "echo: next"
    assert was_asked(model, "hold") == 1


# In several programs at once.


def test_two_programs_share_the_requests_and_run_each_once(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        for n in range(12):
            if n % 2:
                other.do("submit", key=f"user {n % 4}", prompt=f"turn {n}", id=f"{n}")
            else:
                users.submit(f"user {n % 4}", f"turn {n}", id=f"{n}")

        for n in range(12):
            assert other.do("result", id=f"{n}") == f"echo: turn {n}"
            receipt = users.receipt(f"{n}")
            assert receipt is not None
            assert receipt.result(timeout=PATIENCE).text == f"echo: turn {n}"
            assert receipt.attempts == 1
        for n in range(4):
            prompts = prompts_of(users[f"user {n}"])
            assert prompts == [f"turn {m}" for m in range(n, 12, 4)]
    assert len(model.requests) == 12


def test_the_requests_of_a_killed_program_are_taken_over_by_another(
    tmp_path: Path, model: ScriptedModel, held: Held
) -> None:
    with Program(tmp_path, model) as other:
        other.do("submit", key="ada", prompt="hold", id="0")
        wait_until_asked(model, "hold")
        with run(tmp_path, model) as users:
            receipt = users.receipt("0")
            assert receipt is not None
            assert receipt.state is RequestState.RUNNING
            users.submit("ada", "next", id="1")
            waiting = other.send("result", id="0")

            other.kill()
            with pytest.raises(ProgramDied):
                waiting.result(PATIENCE)
            wait_until_asked(model, "hold", 2)
            held.let_go()

            assert receipt.result(timeout=PATIENCE).text == "held"
            assert receipt.attempts == 2
            assert users.submit("ada", "next", id="1").result(timeout=PATIENCE).text == "echo: next"
            assert prompts_of(users["ada"])[-1] == "next"
