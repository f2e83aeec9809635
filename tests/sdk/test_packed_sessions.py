"""Sessions with the real harness whose files are compressed while they are closed."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from google.antigravity import types as sdk

from agy_actors._sdk.conversation_lock import ConversationLock
from agy_actors._sdk.errors import ConversationCorrupt
from agy_actors._sdk.session import Session
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import PATIENCE, fake_harness, has_ended, until
from tests.sdk.packed_files import ID, Files

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import AgentConfig

MAX_BYTES = 20_000
"""Bytes on the disk of a conversation of five short turns."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Ada:
    """Opens the sessions of one conversation, each with its own harness."""

    def __init__(self, model: ScriptedModel, files: Files) -> None:
        self._model = model
        self._files = files
        self.lock = ConversationLock(files.save_dir, ID, "session 'ada'")

    def config(self, **overrides: Any) -> AgentConfig:
        return self._model.openai_config(
            save_dir=str(self._files.save_dir),
            app_data_dir=str(self._files.app_data_dir),
            conversation_id=ID,
            session_continuation_mode=sdk.SessionContinuationMode.CREATE_OR_RESUME,
            **overrides,
        )

    def session(self, packed: Any = None, **overrides: Any) -> Session:
        return Session(
            self.config(**overrides),
            start_timeout=PATIENCE,
            stop_grace=10.0,
            on_line=lambda *_: None,
            has_turn=lambda: False,
            on_death=lambda: None,
            on_step=lambda: None,
            lock=self.lock,
            packed=packed or self._files.packed(),
        )

    async def converse(self, *prompts: str) -> None:
        session = self.session()
        await session.open()
        assert self._files.label.exists()
        for prompt in prompts:
            await take_turn(session, prompt)
        await session.close()


@pytest.fixture
def ada(model: ScriptedModel, files: Files) -> Ada:
    return Ada(model, files)


async def take_turn(session: Session, prompt: str) -> None:
    await session.send(prompt)
    while await session.next_step() is not None:
        pass


def texts(model: ScriptedModel) -> list[str]:
    """Return the prompts and replies in the last request to the model, as one text each."""
    return [str(text) for role, text, *_ in model.requests[-1].messages if role != "system"]


def test_a_closed_session_leaves_only_a_small_archive_and_continues_with_its_history(
    model: ScriptedModel, files: Files, ada: Ada
) -> None:
    model.when("prompt", say("reply"))
    prompts = [f"prompt {number}" for number in range(5)]

    asyncio.run(ada.converse(*prompts))

    assert files.names() == {files.archive.name}
    assert not files.brain.exists()
    assert files.archive.stat().st_blocks * 512 <= MAX_BYTES

    asyncio.run(ada.converse("prompt 5"))

    history = texts(model)
    assert len(history) == 11
    for prompt, text in zip([*prompts, "prompt 5"], history[::2], strict=True):
        assert prompt in text
    assert files.names() == {files.archive.name}
    assert not ada.lock.held


def test_a_killed_session_stays_unpacked_and_the_next_one_packs_it(
    model: ScriptedModel, files: Files, ada: Ada
) -> None:
    async def be_killed() -> None:
        session = ada.session()
        await session.open()
        await take_turn(session, "first")
        await session.close(at_once=True)

    asyncio.run(be_killed())
    assert files.database.exists()
    assert files.label.exists()
    assert not files.archive.exists()
    assert not ada.lock.held

    asyncio.run(ada.converse("second"))

    assert "first" in texts(model)[0]
    assert files.names() == {files.archive.name}


def test_the_turns_in_the_log_of_a_killed_harness_survive_packing(
    model: ScriptedModel, files: Files, ada: Ada
) -> None:
    async def lose_harness() -> None:
        session = ada.session()
        await session.open()
        await take_turn(session, "first")
        assert session.pid is not None
        harness = psutil.Process(session.pid)
        os.kill(harness.pid, signal.SIGKILL)
        until(lambda: has_ended(harness))
        assert files.log.stat().st_size > 0
        await session.close()

    asyncio.run(lose_harness())
    assert files.names() == {files.archive.name}

    asyncio.run(ada.converse("second"))

    assert "first" in texts(model)[0]


def test_a_session_that_cannot_start_leaves_its_conversation_packed(
    files: Files, ada: Ada, tmp_path: Path
) -> None:
    asyncio.run(ada.converse("first"))

    session = ada.session(env=fake_harness(tmp_path, "exit 3"))
    with pytest.raises(Exception, match="localharness ended"):
        asyncio.run(session.open())

    assert files.names() == {files.archive.name}
    assert not ada.lock.held


def test_a_session_with_a_damaged_archive_does_not_open_and_releases_its_lock(
    files: Files, ada: Ada
) -> None:
    files.save_dir.mkdir()
    files.archive.write_bytes(b"damaged")

    with pytest.raises(ConversationCorrupt):
        asyncio.run(ada.session().open())

    assert files.there() == {files.archive: b"damaged"}
    assert not ada.lock.held


class HeldPacking:
    """Stands for a `PackedConversation` that never finishes to pack."""

    def __init__(self, lock: ConversationLock) -> None:
        self._lock = lock
        self.packing = asyncio.Event()

    def unpack(self) -> None:
        assert self._lock.held

    async def pack(self, seconds: float) -> bool:
        assert self._lock.held
        self.packing.set()
        return await asyncio.Future()


def test_a_close_that_is_cancelled_while_it_packs_releases_the_lock(ada: Ada) -> None:
    async def cancel() -> None:
        packed = HeldPacking(ada.lock)
        session = ada.session(packed)
        await session.open()
        closing = asyncio.create_task(session.close())
        await packed.packing.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(cancel())

    assert not ada.lock.held


def test_a_close_that_is_cancelled_before_it_packs_does_not_pack(files: Files, ada: Ada) -> None:
    async def cancel() -> None:
        session = ada.session()
        await session.open()
        closed = asyncio.Event()
        close = session._agent.__aexit__

        async def close_forever(*error: Any) -> None:
            await close(*error)  # type: ignore[no-untyped-call]
            closed.set()
            await asyncio.Future()

        session._agent.__aexit__ = close_forever  # type: ignore[method-assign]
        closing = asyncio.create_task(session.close())
        await closed.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(cancel())

    assert files.database.exists()
    assert not files.archive.exists()
    assert not ada.lock.held


def test_a_session_whose_lock_was_renounced_does_not_pack(files: Files, ada: Ada) -> None:
    async def lose_lock() -> None:
        session = ada.session()
        await session.open()
        await take_turn(session, "first")
        ada.lock.renounce()
        await session.close()

    asyncio.run(lose_lock())

    assert files.database.exists()
    assert not files.archive.exists()
