"""An open SDK agent, the process behind it, and starts that fail."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agy_actors import AgentStartError, Supervisor
from agy_actors._actors.errors import AskTimeout
from agy_actors._sdk.process.harness_process import HarnessProcess
from agy_actors._sdk.session import Session
from agy_actors._sdk.session_errors import SessionBroken
from agy_actors.testing import ScriptedModel, http_error
from tests.harnesses import PATIENCE, SOON, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from google.antigravity.types import Step

    from agy_actors import SupervisorRef
    from tests.agents.agents import Configure


class FakeHarness:
    """A program in the harness's place; it writes its process id to a file first."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._pids = directory / "pids"
        self._pids.touch()
        self._monkeypatch = monkeypatch

    def install(self, body: str) -> None:
        path = self._directory / "harness"
        path.write_text(f"#!/bin/sh\necho $$ >> {self._pids}\n{body}\n")
        path.chmod(0o755)
        self._monkeypatch.setenv("ANTIGRAVITY_HARNESS_PATH", str(path))

    def pids(self) -> list[int]:
        return [int(line) for line in self._pids.read_text().split()]

    def running(self) -> list[int]:
        return [pid for pid in self.pids() if psutil.pid_exists(pid)]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHarness:
    return FakeHarness(tmp_path, monkeypatch)


def session_of(config: Any, **settings: Any) -> Session:
    return Session(
        config,
        **{
            "start_timeout": PATIENCE,
            "stop_grace": 10.0,
            "on_line": lambda *_: None,
            "has_turn": lambda: False,
            "on_death": lambda: None,
            "on_step": lambda: None,
            **settings,
        },
    )


def test_a_start_that_hangs_is_an_error_in_time_and_leaves_no_process(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    fake: FakeHarness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGY_ACTORS_START_TIMEOUT", "0.5")
    fake.install("exec sleep 1000")

    with pytest.raises(AgentStartError, match="did not start"):
        supervisor.create_agent(model.openai_config(), timeout=PATIENCE)

    assert len(fake.pids()) == 1
    assert supervisor.children() == {}
    until(lambda: fake.running() == [])  # It was killed, and ends soon.


def test_a_start_whose_creator_times_out_leaves_no_process(
    model: ScriptedModel, supervisor: SupervisorRef, fake: FakeHarness
) -> None:
    fake.install("exec sleep 1000")

    with pytest.raises(AskTimeout):
        supervisor.create_agent(model.openai_config(), timeout=1.0)

    until(lambda: len(fake.pids()) == 1 and fake.running() == [])
    until(lambda: supervisor.children() == {})


def test_a_harness_that_dies_at_once_is_a_start_error_with_its_last_output(
    model: ScriptedModel, supervisor: SupervisorRef, fake: FakeHarness
) -> None:
    fake.install("echo MARK >&2; exit 3")

    with pytest.raises(AgentStartError, match="MARK"):
        supervisor.create_agent(model.openai_config(), timeout=PATIENCE)

    assert fake.running() == []
    assert supervisor.children() == {}


def test_a_missing_harness_is_a_start_error(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIGRAVITY_HARNESS_PATH", "/no/such/file")

    with pytest.raises(AgentStartError, match="/no/such/file"):
        supervisor.create_agent(model.openai_config(), timeout=PATIENCE)


def test_the_error_of_a_failed_start_does_not_contain_the_key(
    model: ScriptedModel, supervisor: SupervisorRef, fake: FakeHarness
) -> None:
    key = "my-secret-key"
    fake.install(f"echo bad key {key} >&2; exit 3")

    with pytest.raises(AgentStartError, match=r"bad key \[redacted\]") as caught:
        supervisor.create_agent(model.gemini_config(api_key=key), timeout=PATIENCE)

    assert key not in str(caught.getrepr(style="native", chain=True))


def test_an_agent_can_be_stopped_while_it_starts(model: ScriptedModel, fake: FakeHarness) -> None:
    fake.install("exec sleep 1000")
    supervisor = Supervisor.start()
    failures: list[BaseException] = []

    def create() -> None:
        try:
            supervisor.create_agent(model.openai_config(), name="slow")
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            failures.append(error)

    creator = threading.Thread(target=create)
    creator.start()
    until(lambda: len(fake.pids()) == 1)
    supervisor.shutdown_agent("slow", timeout=PATIENCE)
    creator.join(PATIENCE)
    supervisor.stop(timeout=PATIENCE)

    assert [type(failure) for failure in failures] == [AgentStartError]
    assert fake.running() == []


def test_a_harness_that_ignores_the_end_of_its_input_is_killed_after_its_grace_period() -> None:
    import subprocess  # noqa: PLC0415

    popen = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    dead = threading.Event()
    process = HarnessProcess(popen, grace=0.3, on_line=lambda _: None, on_death=dead.set)
    reader = threading.Thread(target=lambda: list(process.stderr))
    reader.start()
    assert process.poll() is None

    started = time.monotonic()
    process.stdin.close()
    code = process.wait(timeout=180)

    assert time.monotonic() - started < SOON
    assert code == process.returncode == -9
    assert dead.wait(SOON)
    reader.join(SOON)
    process.dispose()
    process.dispose()
    assert popen.stdout is not None
    assert popen.stdout.closed


def test_a_closed_connection_is_an_error_and_not_an_empty_answer(
    model: ScriptedModel, configure: Configure, tmp_path: Path
) -> None:
    model.then(http_error(500, "MARK"))

    async def read_to_the_end(session: Session) -> None:
        await session.send("hi")
        while await session.next_step() is not None:
            pass

    async def main() -> None:
        session = session_of(configure(save_dir=str(tmp_path)))
        await session.open()
        try:
            with pytest.raises(SessionBroken, match="MARK"):
                await read_to_the_end(session)
            for _ in range(2):
                with pytest.raises(SessionBroken):
                    await asyncio.wait_for(read_to_the_end(session), SOON)
        finally:
            await session.close(at_once=True)

    asyncio.run(main())


def test_the_error_of_a_broken_session_does_not_contain_the_harnesss_old_lines(
    model: ScriptedModel, tmp_path: Path
) -> None:
    async def until_broken(session: Session) -> None:
        while await session.next_step() is None:
            await session.send("hi")

    async def main() -> str:
        session = session_of(model.openai_config(save_dir=str(tmp_path)))
        await session.open()
        session.kill()
        try:
            with pytest.raises(SessionBroken) as caught:
                await until_broken(session)
        finally:
            await session.close()
            await session.close()
        return str(caught.value)

    assert "stderr" not in asyncio.run(main())


async def _steps_of(session: Session) -> AsyncIterator[Step]:
    while (step := await session.next_step()) is not None:
        yield step


@pytest.mark.parametrize("prompt", ["two", ["two"]], ids=["text", "parts"])
def test_late_steps_of_a_cancelled_turn_do_not_belong_to_the_next(
    model: ScriptedModel, tmp_path: Path, prompt: Any
) -> None:
    async def main() -> list[tuple[str, bool]]:
        session = session_of(model.openai_config(save_dir=str(tmp_path)))
        await session.open()
        await session.send("one")
        first = [step async for step in _steps_of(session)]
        await session.halt(SOON)
        await session.send(prompt)
        late = first[-1].model_copy(update={"content_delta": "late", "step_index": 100})
        connection: Any = session._agent.conversation.connection
        await connection._processor.step_queue.put(late)
        said = [(step.content_delta, session.begun) async for step in _steps_of(session)]
        await session.close()
        return said

    said = asyncio.run(main())

    assert ("late", False) in said
    assert "".join(text for text, begun in said if begun) == "twoecho: two"


def test_a_turn_after_a_complete_one_begins_at_once(model: ScriptedModel, tmp_path: Path) -> None:
    async def main() -> list[bool]:
        session = session_of(model.openai_config(save_dir=str(tmp_path)))
        await session.open()
        begun = []
        for prompt in ("one", "two"):
            await session.send(prompt)
            begun += [session.begun async for _ in _steps_of(session)]
        await session.close()
        return begun

    assert all(asyncio.run(main()))


def test_a_hook_that_never_ends_does_not_hold_up_the_close(
    model: ScriptedModel, tmp_path: Path
) -> None:
    from google.antigravity.hooks import hooks  # noqa: PLC0415

    @hooks.on_session_end  # type: ignore[untyped-decorator] # the SDK's
    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> float:
        config = model.openai_config(save_dir=str(tmp_path), hooks=[hang])
        session = session_of(config, stop_grace=0.5)
        await session.open()
        pid = session.pid
        assert pid is not None
        started = time.monotonic()
        await session.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        return time.monotonic() - started

    assert asyncio.run(main()) < SOON
