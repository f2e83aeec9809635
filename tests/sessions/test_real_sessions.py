"""Sessions with the real harness: conversations that last, and what is known about them."""

from __future__ import annotations

import pickle
import time
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import (
    Chat,
    ForkedProcessError,
    InvalidArgument,
    NotPicklableError,
    Supervisor,
    WaitForIdle,
)
from agy_actors.testing import ScriptedModel, Usage, say
from tests import forked
from tests.harnesses import PATIENCE
from tests.sessions.session_programs import files_of, prompts_of, run
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agy_actors import Sessions


@pytest.fixture
def users(tmp_path: Path, model: ScriptedModel) -> Iterator[Sessions]:
    with run(tmp_path, model) as users:
        yield users


def test_a_session_is_created_by_its_first_ask(users: Sessions) -> None:
    ada = users["ada"]
    assert "ada" not in users
    assert users.info("ada") is None
    before = time.time()

    assert ada.ask("Hello").text == "echo: Hello"

    info = users.info("ada")
    assert info is not None
    assert "ada" in users
    assert (info.key, info.turns) == ("ada", 1)
    assert before <= info.created <= info.last_used <= time.time()
    assert (list(users), len(users)) == (["ada"], 1)


def test_a_session_remembers_its_conversation_after_sleep(
    users: Sessions, model: ScriptedModel, tmp_path: Path
) -> None:
    users["ada"].ask("first")
    users["bob"].ask("another")

    users.sleep("ada")

    assert files_of(tmp_path, "ada") == {".tar.xz"}
    assert users["ada"].ask("second").text == "echo: second"
    assert prompts_of(users["ada"]) == ["first", "second"]
    assert "first" in str(model.requests[-1].messages)
    assert "another" not in str(model.requests[-1].messages)


def test_what_is_known_is_the_same_awake_and_asleep_and_in_the_next_run(
    tmp_path: Path, model: ScriptedModel
) -> None:
    model.when("", say("well", usage=Usage(prompt=7, completion=3)))
    with run(tmp_path, model) as users:
        for key in ("carl", "ada", "bob"):
            users[key].ask("hi")
        users["ada"].ask("again")
        users["ada"].ask(WaitForIdle())  # The reply comes a little before the end of the turn.
        awake = {key: users.info(key) for key in users}
        for key in users:
            users.sleep(key)
        asleep = {key: users.info(key) for key in users}

    with run(tmp_path, model) as users:
        later = {key: users.info(key) for key in users}
        assert (list(users), len(users)) == (["ada", "bob", "carl"], 3)
        assert "ada" in users
        assert "dora" not in users
        users.wake("ada")
        assert users.info("ada") == asleep["ada"]
        users["ada"].ask("third")
        third = users.info("ada")

    assert awake == asleep == later
    ada = awake["ada"]
    assert ada is not None
    assert third is not None
    assert (ada.turns, ada.usage.prompt_token_count, ada.usage.candidates_token_count) == (2, 14, 6)
    assert (third.turns, third.usage.prompt_token_count) == (3, 21)
    assert third.created == ada.created
    assert third.last_used > ada.last_used


def test_a_session_remembers_its_conversation_in_the_next_run(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model) as users:
        users["ada"].ask("first")

    with run(tmp_path, model) as users:
        users["ada"].ask("second")
        assert prompts_of(users["ada"]) == ["first", "second"]

    assert files_of(tmp_path, "ada") == {".tar.xz"}


def test_without_a_state_dir_sessions_last_as_long_as_their_supervisor(
    model: ScriptedModel,
) -> None:
    with Supervisor.start() as supervisor:
        users = supervisor.create_sessions(model.openai_config(), name="users")
        users["ada"].ask("first")
        users.sleep("ada")
        users["ada"].ask("second")
        assert prompts_of(users["ada"]) == ["first", "second"]


@pytest.mark.parametrize("awake", [True, False], ids=["awake", "asleep"])
def test_delete_removes_all_files_and_the_next_ask_begins_a_new_conversation(
    users: Sessions, tmp_path: Path, awake: bool
) -> None:
    users["ada"].ask("first")
    users["bob"].ask("other")
    if not awake:
        users.sleep("ada")

    assert users.delete("ada")

    assert files_of(tmp_path, "ada") == set()
    assert list(users) == ["bob"]
    assert users.info("ada") is None
    assert not users.delete("ada")
    users["ada"].ask("second")
    assert prompts_of(users["ada"]) == ["second"]
    info = users.info("ada")
    assert info is not None
    assert info.turns == 1


def test_wake_opens_and_sleep_closes_a_conversation(users: Sessions, tmp_path: Path) -> None:
    users.wake("ada")
    assert ".db" in files_of(tmp_path, "ada")
    assert "ada" in users
    awake = users.statistics()
    users.wake("ada")  # Nothing more.

    users.sleep("ada")
    users.sleep("ada")
    users.sleep("bob")

    asleep = users.statistics()
    assert (awake.name, awake.sessions, awake.awake, awake.woken, awake.slept) == (
        *("users", 1, 1, 1, 0),
    )
    assert (asleep.sessions, asleep.awake, asleep.woken, asleep.slept) == (1, 0, 1, 1)
    assert "bob" not in users


def test_the_refs_of_equal_keys_are_equal(users: Sessions) -> None:
    ada = users["ada"]

    assert ada == users["ada"]
    assert hash(ada) == hash(users["ada"])
    assert ada != users["bob"]
    assert pickle.loads(pickle.dumps(ada)) == ada
    assert "ada" in repr(ada)
    assert "ada" in str(ada)


def load(data: bytes) -> str:
    try:
        pickle.loads(data)
    except NotPicklableError as error:
        return str(error)
    return ""


def test_a_ref_cannot_be_unpickled_in_another_process_or_after_the_end(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model) as users:
        data = pickle.dumps(users["ada"])
        assert "'ada'" in forked.in_child(lambda: load(data))

    assert "'ada'" in load(data)


SIMILAR_KEYS = ["Ada", "ada", "a/da", "a~da", "ada\0", "\u00e9", "e\u0301"]
ODD_KEYS = [
    *["ada\n", "..", "x" * 1000],
    *["ADA", "../ada", ".", "/", "a/b", "~", "\0", "\n", " ", "a\0b", "%s{}", "NULL", "x" * 999],
    *["\N{GRINNING FACE}", "\U0010ffff", "\ufeff", "\u202e", "'; DROP TABLE --"],
    *["\u212b", "\u00c5", "\N{GRINNING FACE}" * 1000],
]


@pytest.mark.parametrize("keys", quick([SIMILAR_KEYS, ODD_KEYS], 0), ids=["similar", "odd"])
def test_any_text_is_a_key_and_different_texts_are_different_keys(
    tmp_path: Path, model: ScriptedModel, keys: list[str]
) -> None:
    with run(tmp_path, model, max_awake=4) as users:
        replies = [
            users[key].ask(Chat(f"number {number}", timeout=60), block=False)
            for number, key in enumerate(keys)
        ]
        texts = [reply.get(timeout=60).text for reply in replies]

    assert unicodedata.normalize("NFC", "e\u0301") == "\u00e9"
    assert texts == [f"echo: number {number}" for number in range(len(keys))]
    with run(tmp_path, model) as users:
        assert list(users) == sorted(keys)
        assert len(users) == len(keys)
        for number, key in enumerate(keys):
            assert key in users
            if number % 3 == 0:
                assert prompts_of(users[key]) == [f"number {number}"]


@pytest.mark.parametrize("key", ["", "x" * 1001, None, 5, b"ada", "\ud800", ("ada",)], ids=repr)
def test_an_invalid_key_is_refused(users: Sessions, key: Any) -> None:
    uses: list[Any] = [users.__getitem__, users.info, users.wake, users.sleep, users.delete]
    for use in [*uses, lambda key: users.submit(key, "hi")]:
        with pytest.raises(InvalidArgument, match=r"1 to 1000 characters|UTF-8"):
            use(key)
    assert key not in users
    assert len(users) == 0


def test_a_forked_child_cannot_use_sessions(users: Sessions) -> None:
    users["ada"].ask("first", timeout=PATIENCE)
    uses: list[Any] = [
        lambda: users["ada"].ask("second"),
        lambda: users["ada"].tell(Chat("second")),
        lambda: list(users["ada"].stream("second")),
        lambda: users.info("ada"),
        lambda: users.submit("ada", "second"),
        lambda: users.receipt("id"),
        lambda: list(users.receipts()),
        lambda: list(users),
        lambda: "ada" in users,
        lambda: len(users),
        lambda: users.wake("ada"),
        lambda: users.sleep("ada"),
        lambda: users.delete("ada"),
        users.statistics,
    ]

    def use_all() -> list[str]:
        return [forked.outcome(use).split()[0] for use in uses]

    assert forked.in_child(use_all) == [ForkedProcessError.__name__] * len(uses)
    users["ada"].ask("second", timeout=PATIENCE)
    assert prompts_of(users["ada"]) == ["first", "second"]
