"""Damaged files of sessions: an error names the key, the file and the remedy; other keys work."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from agy_actors import (
    AgentStartError,
    ConversationCorrupt,
    SessionStorageError,
    Supervisor,
)
from agy_actors._sessions.session_keys import conversation_id_of
from tests.harnesses import PATIENCE
from tests.sessions.session_programs import (
    Program,
    files_of,
    folder_in,
    prompts_of,
    run,
)
from tests.slow import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agy_actors import SessionInfo, Sessions
    from agy_actors.testing import ScriptedModel


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{level} {message}")
    logger.enable("agy_actors")
    yield lines
    logger.disable("agy_actors")
    logger.remove(sink)


@pytest.fixture
def known(tmp_path: Path, model: ScriptedModel) -> dict[str, SessionInfo | None]:
    """Make two sessions that sleep, and return what is known about them."""
    with run(tmp_path, model) as users:
        for key in ("ada", "bob"):
            users[key].ask(f"{key} first")
            users.sleep(key)
        return {key: users.info(key) for key in users}


def check_bob(users: Sessions) -> None:
    assert users["bob"].ask("second", timeout=PATIENCE).text == "echo: second"
    assert prompts_of(users["bob"]) == ["bob first", "second"]


def file_of(state_dir: Path, key: str, suffix: str) -> Path:
    return folder_in(state_dir) / f"{conversation_id_of(key)}{suffix}"


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 999")
        database.commit()


# The index.


@pytest.mark.parametrize(
    "damage",
    quick([lambda path: path.unlink(), truncate, fill_with_garbage], 1),
    ids=["gone", "cut", "wild"],
)
def test_a_damaged_index_is_rebuilt(
    tmp_path: Path,
    model: ScriptedModel,
    known: dict[str, SessionInfo | None],
    warnings: list[str],
    damage: Callable[[Path], None],
) -> None:
    index = folder_in(tmp_path) / "index.sqlite3"
    damage(index)

    with run(tmp_path, model) as users:
        assert {key: users.info(key) for key in users} == known
        check_bob(users)

    assert len(warnings) == 1
    assert str(index) in warnings[0]


@pytest.mark.slow
def test_an_index_that_is_deleted_in_use_is_rebuilt(
    tmp_path: Path, model: ScriptedModel, known: dict[str, SessionInfo | None]
) -> None:
    with run(tmp_path, model) as users:
        users["carl"].ask("hi")
        (folder_in(tmp_path) / "index.sqlite3").unlink()

        assert list(users) == ["ada", "bob", "carl"]
        check_bob(users)


def test_an_index_of_a_newer_release_prevents_the_start_and_is_not_changed(
    tmp_path: Path, model: ScriptedModel, known: dict[str, SessionInfo | None]
) -> None:
    index = folder_in(tmp_path) / "index.sqlite3"
    make_newer(index)
    before = index.read_bytes()

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        with pytest.raises(AgentStartError) as caught:
            supervisor.create_sessions(model.openai_config(), name="users")
        for part in ("users", str(index), "newer release", "upgrade agy_actors", "delete the file"):
            assert part in str(caught.value)
        other = supervisor.create_sessions(model.openai_config(), name="others")
        other["ada"].ask("hi")

    assert index.read_bytes() == before


# A conversation.


@pytest.mark.parametrize("damage", quick([truncate, fill_with_garbage], 0), ids=["cut", "wild"])
def test_a_damaged_archive_concerns_its_key_only_and_delete_repairs_it(
    tmp_path: Path,
    model: ScriptedModel,
    known: dict[str, SessionInfo | None],
    damage: Callable[[Path], None],
) -> None:
    archive = file_of(tmp_path, "ada", ".tar.xz")
    damage(archive)
    damaged = archive.read_bytes()

    with run(tmp_path, model) as users:
        for _ in range(2):
            with pytest.raises(ConversationCorrupt) as caught:
                users["ada"].ask("second", timeout=PATIENCE)
            assert caught.value.path == str(archive)
            for part in ("'ada'", str(archive), "backup", "sessions.delete(key)"):
                assert part in str(caught.value)
        with pytest.raises(ConversationCorrupt):
            users.wake("ada")
        check_bob(users)
        assert archive.read_bytes() == damaged
        assert users.info("ada") == known["ada"]

        assert users.delete("ada", timeout=PATIENCE)
        assert users["ada"].ask("new", timeout=PATIENCE).text == "echo: new"
        assert prompts_of(users["ada"]) == ["new"]


@pytest.mark.slow
def test_a_request_of_a_key_with_a_damaged_archive_fails_and_others_run(
    tmp_path: Path, model: ScriptedModel, known: dict[str, SessionInfo | None]
) -> None:
    fill_with_garbage(file_of(tmp_path, "ada", ".tar.xz"))

    with run(tmp_path, model) as users:
        damaged = users.submit("ada", "hi")
        sound = users.submit("bob", "hi")
        assert sound.result(timeout=PATIENCE).text == "echo: hi"
        with pytest.raises(ConversationCorrupt, match="'ada'"):
            damaged.result(timeout=PATIENCE)


@pytest.fixture
def unpacked(tmp_path: Path, model: ScriptedModel) -> None:
    """Leave two conversations unpacked, as a program that is killed does."""
    with Program(tmp_path, model) as program:
        for key in ("ada", "bob"):
            program.do("ask", key=key, prompt=f"{key} first")
        program.kill()
    for key in ("ada", "bob"):
        assert {".db", ".label.json"} <= files_of(tmp_path, key)


@pytest.mark.usefixtures("unpacked")
def test_a_damaged_database_concerns_its_key_only_and_delete_repairs_it(
    tmp_path: Path, model: ScriptedModel
) -> None:
    database = file_of(tmp_path, "ada", ".db")
    fill_with_garbage(database)
    file_of(tmp_path, "ada", ".db-wal").unlink(missing_ok=True)

    with run(tmp_path, model) as users:
        for _ in range(2):
            with pytest.raises(AgentStartError) as caught:
                users["ada"].ask("second", timeout=PATIENCE)
            for part in ("'ada'", str(database), "sessions.delete(key)"):
                assert part in str(caught.value)
        check_bob(users)

        assert users.delete("ada", timeout=PATIENCE)
        assert users["ada"].ask("new", timeout=PATIENCE).text == "echo: new"
        assert prompts_of(users["ada"]) == ["new"]


@pytest.mark.slow
@pytest.mark.usefixtures("unpacked")
def test_a_damaged_label_hides_its_session_only_from_a_rebuilt_index(
    tmp_path: Path, model: ScriptedModel, warnings: list[str]
) -> None:
    fill_with_garbage(file_of(tmp_path, "ada", ".label.json"))
    (folder_in(tmp_path) / "index.sqlite3").unlink()

    with run(tmp_path, model) as users:
        assert list(users) == ["bob"]
        assert any(conversation_id_of("ada") in line for line in warnings)
        check_bob(users)
        assert users["ada"].ask("second").text == "echo: second"
        assert prompts_of(users["ada"]) == ["ada first", "second"]
        assert list(users) == ["ada", "bob"]


# The requests.


@pytest.mark.parametrize(
    ("damage", "remedy"),
    quick([(fill_with_garbage, "restore it from a backup"), (make_newer, "upgrade agy_actors")], 0),
    ids=["wild", "newer"],
)
def test_damaged_requests_are_not_replaced_and_do_not_concern_other_asks(
    tmp_path: Path, model: ScriptedModel, damage: Callable[[Path], None], remedy: str
) -> None:
    with run(tmp_path, model) as users:
        users.submit("bob", "bob first").result(timeout=PATIENCE)
    path = folder_in(tmp_path) / "requests.sqlite3"
    damage(path)
    before = path.read_bytes()

    with run(tmp_path, model) as users:
        check_bob(users)
        uses: list[Callable[[], object]] = [
            lambda: users.submit("ada", "hi"),
            lambda: users.receipt("id"),
            lambda: list(users.receipts()),
        ]
        for use in uses:
            with pytest.raises(SessionStorageError) as caught:
                use()
            assert caught.value.path == str(path)
            for part in (str(path), remedy):
                assert part in str(caught.value)
        assert users["ada"].ask("hi").text == "echo: hi"
        assert users.delete("ada", timeout=PATIENCE)
        assert "ada" not in users
        assert path.read_bytes() == before

        path.rename(path.with_suffix(".old"))
        assert users.submit("ada", "again").result(timeout=PATIENCE).text == "echo: again"


# The folders.


@pytest.mark.slow
def test_a_missing_folder_for_other_programs_is_made_again(
    tmp_path: Path, model: ScriptedModel
) -> None:
    with run(tmp_path, model) as users, Program(tmp_path, model) as other:
        other.do("ask", key="ada", prompt="first")
        shutil.rmtree(folder_in(tmp_path) / "wanted")

        assert users["bob"].ask("hi").text == "echo: hi"
        assert users["ada"].ask("second", timeout=PATIENCE).text == "echo: second"
        assert prompts_of(users["ada"]) == ["first", "second"]


def test_a_file_in_place_of_the_folder_for_other_programs_prevents_the_start(
    tmp_path: Path, model: ScriptedModel, known: dict[str, SessionInfo | None]
) -> None:
    wanted = folder_in(tmp_path) / "wanted"
    shutil.rmtree(wanted)
    wanted.touch()

    with Supervisor.start(state_dir=tmp_path) as supervisor:
        with pytest.raises(AgentStartError) as caught:
            supervisor.create_sessions(model.openai_config(), name="users")
        for part in ("users", str(wanted)):
            assert part in str(caught.value)
        wanted.unlink()
        users = supervisor.create_sessions(model.openai_config(), name="users")
        check_bob(users)
