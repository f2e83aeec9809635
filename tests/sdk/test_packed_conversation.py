"""Conversations whose files are compressed while nobody has them open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors._sdk import packed_conversation
from agy_actors._sdk.conversation_archive import write_archive
from agy_actors._sdk.conversation_files import remove_conversation
from agy_actors._sdk.conversation_labels import read_labels
from agy_actors._sdk.errors import AgentStartError, ConversationCorrupt
from agy_actors._sdk.packed_conversation import PackedConversation
from tests.sdk.packed_files import ID, LABEL, TIME, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def hold(monkeypatch: pytest.MonkeyPatch, held: Callable[[], bool]) -> None:
    def harness_with(_: Path) -> int | None:
        return 1 if held() else None

    monkeypatch.setattr(packed_conversation, "harness_with", harness_with)


# Packing and unpacking.


def test_only_the_archive_is_left_of_a_packed_conversation(files: Files) -> None:
    files.create()

    assert files.pack()

    assert files.names() == {files.archive.name}
    assert not files.brain.exists()
    assert files.archive.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("log", [False, True])
def test_unpacking_restores_all_files(files: Files, log: bool) -> None:
    files.create(log=log)
    files.pack()

    files.packed().unpack()

    assert files.there() == files.content
    assert json.loads(files.label.read_bytes()) == LABEL


def test_restored_files_are_private_and_keep_their_times_and_the_right_to_execute_them(
    files: Files,
) -> None:
    files.create()
    files.pack()

    files.packed().unpack()

    modes = {path.name: path.stat().st_mode & 0o777 for path in files.content}
    assert modes == {
        files.database.name: 0o600,
        "transcript.jsonl": 0o600,
        "tool.sh": 0o700,
        "été.md": 0o600,
    }
    assert {path.stat().st_mtime for path in files.content} == {TIME}
    assert (files.brain / "notes").stat().st_mode & 0o777 == 0o700
    assert files.label.stat().st_mode & 0o777 == 0o600


def test_a_new_conversation_has_only_a_label_and_leaves_nothing(files: Files) -> None:
    files.packed().unpack()

    assert files.names() == {files.label.name}
    assert not files.pack()
    assert files.names() == set()


def test_turns_that_are_only_in_the_log_of_a_killed_harness_are_not_lost(files: Files) -> None:
    files.packed().unpack()
    with contextlib.closing(sqlite3.connect(files.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE turns (text)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO turns VALUES ('hello')")
        connection.commit()
        left = {path: path.read_bytes() for path in files.save_dir.glob(f"{ID}.db*")}
    for path, content in left.items():
        path.write_bytes(content)

    files.pack()
    assert files.names() == {files.archive.name}
    files.packed().unpack()

    with contextlib.closing(sqlite3.connect(files.database)) as connection:
        assert connection.execute("SELECT text FROM turns").fetchall() == [("hello",)]


def test_packing_and_unpacking_twice_changes_nothing(files: Files) -> None:
    files.create()
    files.pack()

    assert not files.pack()
    files.packed().unpack()
    files.packed().unpack()

    assert files.there() == files.content


def test_links_and_other_special_files_stay_where_they_are(files: Files) -> None:
    files.create()
    (files.brain / "notes" / "link").symlink_to("elsewhere")
    os.mkfifo(files.brain / "pipe")

    assert files.pack()

    assert set(files.brain.rglob("*")) == {
        files.brain / "notes",
        files.brain / "notes" / "link",
        files.brain / "pipe",
    }
    files.packed().unpack()
    assert files.there() == files.content


def test_a_file_that_is_written_after_it_was_packed_is_kept(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()
    transcript = files.brain / "logs" / "transcript.jsonl"
    later = b"later"

    def write_and_change(*args: Any) -> Iterator[None]:
        yield from write_archive(*args)
        transcript.write_bytes(later)

    monkeypatch.setattr(packed_conversation, "write_archive", write_and_change)
    assert files.pack()
    assert files.there().keys() == {files.archive, transcript}

    files.packed().unpack()

    assert files.there() == {**files.content, transcript: later}


def test_a_database_that_changes_meanwhile_is_not_packed(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()

    def write_and_change(*args: Any) -> Iterator[None]:
        yield from write_archive(*args)
        files.database.write_bytes(b"more")

    monkeypatch.setattr(packed_conversation, "write_archive", write_and_change)

    assert not files.pack()

    assert files.there() == {**files.content, files.database: b"more"}


def test_a_conversation_that_a_harness_has_open_is_not_packed(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()
    hold(monkeypatch, lambda: True)

    assert not files.pack(0.0)

    assert files.there() == files.content


def test_a_conversation_that_a_harness_opens_meanwhile_is_not_packed(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()
    answers = iter([False, True])
    hold(monkeypatch, lambda: next(answers))

    assert not files.pack(0.0)

    assert files.there() == files.content


def test_packing_lets_other_tasks_run_until_the_harness_has_closed_the_conversation(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()
    held = True
    hold(monkeypatch, lambda: held)

    async def pack() -> bool:
        nonlocal held
        packing = asyncio.create_task(files.packed().pack(60.0))
        await asyncio.sleep(0)
        assert not packing.done()
        held = False
        return await packing

    assert asyncio.run(pack())


def test_packing_that_is_cancelled_leaves_the_conversation_unpacked(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create()

    def write_and_cancel(*args: Any) -> Iterator[None]:
        steps = write_archive(*args)
        yield next(steps)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        yield from steps

    monkeypatch.setattr(packed_conversation, "write_archive", write_and_cancel)

    with pytest.raises(asyncio.CancelledError):
        files.pack()

    assert files.there() == files.content
    assert files.names() == {files.database.name, files.label.name}


def test_the_database_decides_which_form_is_valid(files: Files) -> None:
    files.create()
    files.pack()
    files.database.write_bytes(b"newer")

    files.packed().unpack()

    assert files.database.read_bytes() == b"newer"
    assert not files.archive.exists()


def test_a_log_without_its_database_is_not_applied_to_the_one_in_the_archive(files: Files) -> None:
    files.create()
    files.pack()
    files.log.write_bytes(b"old")

    files.packed().unpack()

    assert files.there() == files.content


def test_transcripts_stay_in_the_archive_if_their_folder_is_unknown(files: Files) -> None:
    files.create()
    files.pack()
    packed = PackedConversation(ID, files.save_dir, None, lambda: LABEL, "session 'ada'")

    with pytest.raises(AgentStartError, match="app_data_dir"):
        packed.unpack()

    assert files.names() == {files.archive.name}


def test_transcripts_in_an_unknown_folder_are_not_packed(files: Files) -> None:
    files.create()
    packed = PackedConversation(ID, files.save_dir, None, lambda: LABEL, "session 'ada'")

    assert asyncio.run(packed.pack(0.0))

    assert files.names() == {files.archive.name}
    packed.unpack()
    assert files.there() == files.content


# Labels, and other files.


def test_labels_can_be_read_of_packed_and_unpacked_conversations(files: Files) -> None:
    files.create()
    assert list(read_labels(files.save_dir)) == [(ID, LABEL)]

    asyncio.run(files.packed({**LABEL, "turns": 6}).pack(0.0))

    assert list(read_labels(files.save_dir)) == [(ID, {**LABEL, "turns": 6})]


def test_the_label_of_the_valid_form_is_read(files: Files) -> None:
    files.create()
    files.pack()
    files.label.write_text('{"turns": 4}')
    assert list(read_labels(files.save_dir)) == [(ID, LABEL)]

    files.database.touch()

    assert list(read_labels(files.save_dir)) == [(ID, {"turns": 4})]


def test_a_label_that_cannot_be_read_is_an_error_of_its_conversation(files: Files) -> None:
    files.create()
    (files.save_dir / f"{'a' * 32}.tar.xz").write_bytes(b"damaged")
    (files.save_dir / f"{'b' * 32}.label.json").write_bytes(b"[]")
    (files.save_dir / f"{'c' * 32}.db").touch()

    labels = dict(read_labels(files.save_dir))

    assert labels.keys() == {ID, "a" * 32, "b" * 32, "c" * 32}
    assert labels[ID] == LABEL
    assert isinstance(labels["a" * 32], ConversationCorrupt)
    assert isinstance(labels["b" * 32], ConversationCorrupt)
    assert isinstance(labels["c" * 32], FileNotFoundError)


def test_other_files_are_not_taken_for_conversations(files: Files) -> None:
    assert list(read_labels(files.save_dir)) == []
    files.save_dir.mkdir()
    for name in ("index.db", f"{ID}.lock", f"{ID}.tar.xz.tmp", f"{ID}.db.tmp", f"{ID}.db-wal"):
        (files.save_dir / name).touch()

    assert list(read_labels(files.save_dir)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_removed_conversation_leaves_nothing(files: Files, packed: bool) -> None:
    files.create(log=True)
    if packed:
        files.pack()
    files.archive.with_name(f"{files.archive.name}.tmp").touch()
    files.brain.with_name(f"{ID}.tmp").mkdir(parents=True)

    assert remove_conversation(ID, files.save_dir, files.app_data_dir)

    assert files.there() == {}
    assert files.names() == set()
    assert list((files.app_data_dir / "brain").iterdir()) == []
    assert not remove_conversation(ID, files.save_dir, files.app_data_dir)


@pytest.mark.parametrize("suffix", [".tar.xz", ".label.json", ".db.tmp", ".tar.xz.tmp"])
def test_each_file_of_a_conversation_counts_when_it_is_removed(files: Files, suffix: str) -> None:
    files.save_dir.mkdir()
    (files.save_dir / f"{ID}{suffix}").touch()

    assert remove_conversation(ID, files.save_dir, files.app_data_dir)

    assert files.names() == set()


def test_temporary_files_are_removed_at_the_next_use(files: Files) -> None:
    files.create()
    names = [f"{path.name}.tmp" for path in (files.archive, files.database, files.label, files.log)]

    for use in (files.packed().unpack, files.pack, files.pack, files.packed().unpack):
        for name in names:
            (files.save_dir / name).touch()
        files.brain.with_name(f"{ID}.tmp").mkdir(parents=True)
        use()
        assert not files.names() & set(names)
        assert not files.brain.with_name(f"{ID}.tmp").exists()
