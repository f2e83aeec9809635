"""What the SDK and its harness do by themselves, where no other test shows it.

`docs/sdk_facts.rst` names these tests. One that fails after an update of the SDK means that what
agy_actors does about the fact may be superfluous, or wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import signal
import stat
import threading
import time
from typing import IO, TYPE_CHECKING, Any, cast

import pytest
from google.antigravity import Agent, ModelAPIRetryConfig, RetryConfig
from google.antigravity.conversation.conversation import Conversation
from google.antigravity.hooks import hooks
from google.antigravity.proto import localharness_pb2
from google.antigravity.types import (
    AntigravityCancelledError,
    AntigravityConnectionError,
    AntigravityExecutionError,
    SessionContinuationMode,
    StepStatus,
)
from websockets import ConnectionClosed

from agy_actors import Chat, Disconnect, GetConversationId, GetHistory, Supervisor
from agy_actors.testing import call_tool, http_error, say, silence
from tests.harnesses import PATIENCE, patient_harness, suspend
from tests.slow import quick

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.triggers import TriggerContext

    from agy_actors.testing import ScriptedModel

NEVER = 1.0
"""Seconds after which a hanging turn has not ended. An answer takes a tenth of a second."""

PAUSE = 0.2
"""Seconds for which a blocked loop runs nothing else. Arbitrary."""

CONVERSATION = "0123456789abcdef0123456789abcdef"


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, and ignore the errors that the SDK leaves in its tasks."""

    async def quietly() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
        await asyncio.wait_for(main, PATIENCE)

    asyncio.run(quietly())


def process_of(agent: Agent) -> subprocess.Popen[bytes]:
    connection: Any = agent.conversation.connection
    process: subprocess.Popen[bytes] = connection._process
    return process


@contextlib.asynccontextmanager
async def raw(config: AgentConfig) -> AsyncIterator[Agent]:
    """Open an agent of the SDK, and end it completely."""
    agent = Agent(config)
    await agent.__aenter__()
    connection: Any = agent.conversation.connection
    process = process_of(agent)
    try:
        yield agent
    finally:
        process.kill()
        with contextlib.suppress(Exception, AntigravityCancelledError):
            await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]
        process.wait()
        connection._stderr_thread.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                cast("IO[bytes]", pipe).close()


async def ask(agent: Agent, prompt: str) -> str:
    response = await agent.chat(prompt)
    return await response.text()


async def hangs(turn: Awaitable[str]) -> bool:
    try:
        await asyncio.wait_for(turn, NEVER)
    except TimeoutError:
        return True
    return False


# Turns and errors.


async def outcome(agent: Agent, prompt: str) -> str:
    """Ask a question, and return the answer or the exception."""
    try:
        return await asyncio.wait_for(ask(agent, prompt), NEVER)
    except (AntigravityConnectionError, AntigravityExecutionError, ConnectionClosed) as error:
        return f"{type(error).__name__}: {error}"
    except TimeoutError:
        return "nothing"


@pytest.mark.parametrize("protocol", quick(["openai", "gemini"], 0))
def test_after_an_error_later_questions_get_that_error_or_nothing(
    model: ScriptedModel, protocol: str
) -> None:
    model.then(http_error(401, "MARK"))
    config = model.openai_config() if protocol == "openai" else model.gemini_config()

    async def main() -> None:
        async with raw(config) as agent:
            first, *later = [await outcome(agent, prompt) for prompt in ("one", "two", "three")]

            assert first.startswith("Antigravity")
            assert "MARK" in first
            for answer in later:  # The order of events decides which one it is.
                assert answer in ("", "nothing") or "MARK" in answer or "Closed" in answer

    run(main())
    assert len(model.requests) == 1


def test_an_error_that_is_only_a_step_is_not_raised(model: ScriptedModel) -> None:
    once = ModelAPIRetryConfig(
        max_retries=1, initial_sleep_duration_ms=1, exponential_multiplier=1.0, jitter_range=0.0
    )
    model.then(http_error(503, "MARK"))

    async def main() -> None:
        config = model.gemini_config(retry_config=RetryConfig(api_retry=once))
        async with raw(config) as agent:
            assert await ask(agent, "hi") == "echo: hi"

            failed = [s for s in agent.conversation.history if s.status == StepStatus.ERROR]
            assert any("MARK" in step.error + step.content for step in failed)

    run(main())


def test_a_turn_whose_asker_gave_up_continues_and_delays_the_next(model: ScriptedModel) -> None:
    gate = threading.Event()
    model.then(say("slow", gate=gate))

    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            assert await hangs(ask(agent, "one"))
            second = asyncio.create_task(ask(agent, "two"))
            await asyncio.sleep(NEVER)

            assert not second.done()
            gate.set()
            await second

    try:
        run(main())
    finally:
        gate.set()


def test_a_cancelled_turn_raises_an_error_that_is_not_an_exception(model: ScriptedModel) -> None:
    model.then(silence("half"))

    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            turn = asyncio.create_task(ask(agent, "hi"))
            await asyncio.to_thread(model.wait_for_requests, 1)
            await agent.conversation.cancel()
            with pytest.raises(AntigravityCancelledError):
                await turn

    run(main())
    assert not issubclass(AntigravityCancelledError, Exception)


def test_a_lone_surrogate_in_a_prompt_is_an_error_that_names_no_prompt(
    model: ScriptedModel,
) -> None:
    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            with pytest.raises(Exception, match="surrogates not allowed"):
                await ask(agent, "caf\ud800e")

    run(main())


# Processes.


def test_after_the_death_of_its_process_an_agent_raises_at_each_use(model: ScriptedModel) -> None:
    model.then(silence("half"))

    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            turn = asyncio.create_task(ask(agent, "hi"))
            await asyncio.to_thread(model.wait_for_requests, 1)
            process_of(agent).kill()

            with pytest.raises(AntigravityConnectionError):
                await turn
            with pytest.raises(ConnectionClosed):
                await ask(agent, "again")
            with pytest.raises(AntigravityExecutionError, match="exited with code -9"):
                await agent.__aexit__(None, None, None)  # type: ignore[no-untyped-call]

    run(main())


async def longest_pause(work: Coroutine[Any, Any, Any]) -> float:
    """Return the longest time for which the loop did nothing else while some work was done."""
    longest, last = 0.0, time.monotonic()
    task = asyncio.create_task(work)
    while not task.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    await task
    return longest


def test_the_start_of_a_process_blocks_its_loop(model: ScriptedModel, tmp_path: Path) -> None:
    env, go = patient_harness(tmp_path)

    async def start(config: AgentConfig) -> None:
        async with raw(config):
            pass

    async def main() -> None:
        threading.Timer(2 * PAUSE, go).start()
        assert await longest_pause(start(model.openai_config(env=env))) > PAUSE

    run(main())


def test_the_end_of_a_process_blocks_its_loop(model: ScriptedModel) -> None:
    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            process = process_of(agent)
            suspend(process.pid)
            # The SDK gives the WebSocket half a second, and awaits that.
            threading.Timer(0.5 + 2 * PAUSE, process.send_signal, [signal.SIGCONT]).start()

            assert await longest_pause(agent.__aexit__(None, None, None)) > PAUSE  # type: ignore[no-untyped-call]

    run(main())


def test_a_process_is_started_with_only_the_folder_of_its_conversations() -> None:
    messages: Any = localharness_pb2  # Its classes are made at import, unknown to type checkers.
    fields = [field.name for field in messages.InputConfig.DESCRIPTOR.fields]

    assert sorted(fields) == [
        "bind_address",
        "client_info",
        "env",
        "port",
        "storage_directory",
        "use_interactions_api",
    ]


# Conversations and files.


def lasting(model: ScriptedModel, folder: Path) -> AgentConfig:
    return model.openai_config(
        conversation_id=CONVERSATION,
        save_dir=str(folder),
        app_data_dir=str(folder),
        session_continuation_mode=SessionContinuationMode.CREATE_OR_RESUME,
    )


def test_a_conversation_has_no_id_before_its_first_turn_unless_it_is_configured(
    model: ScriptedModel, tmp_path: Path
) -> None:
    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            assert not agent.conversation.conversation_id
            await ask(agent, "hi")
            assert agent.conversation.conversation_id
        async with raw(lasting(model, tmp_path)) as agent:
            assert (tmp_path / f"{CONVERSATION}.db").exists()
            await ask(agent, "hi")
            assert agent.conversation.conversation_id == CONVERSATION

    run(main())


def test_the_prompt_of_a_turn_remains_after_its_process_was_killed(
    model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("two", silence("half"))

    async def main() -> None:
        async with raw(lasting(model, tmp_path)) as agent:
            await ask(agent, "one")
            response = await agent.chat("two")
            async for piece in response:
                assert str(piece).startswith("half"[: len(str(piece))])
                break
        async with raw(lasting(model, tmp_path)) as agent:
            history = [step.content for step in agent.conversation.history]

            assert history[:3] == ["one", "echo: one", "two"]
            assert agent.conversation.turn_count == 0

    run(main())


def test_two_processes_open_one_conversation_and_continue_separately(
    model: ScriptedModel, tmp_path: Path
) -> None:
    async def main() -> None:
        async with raw(lasting(model, tmp_path)) as first:
            await ask(first, "one")
            async with raw(lasting(model, tmp_path)) as second:
                await ask(first, "two")
                await ask(second, "three")
                await ask(first, "four")

    run(main())
    three, four = ([text for _, text in request.messages] for request in model.requests[2:])
    assert "one" in three
    assert "two" not in three
    assert "three" not in four


def test_there_is_no_way_to_delete_a_conversation_or_to_wait_for_a_wake_up(
    model: ScriptedModel,
) -> None:
    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            assert await agent.conversation.wait_for_wakeup(timeout=PATIENCE) is False

    run(main())
    assert not hasattr(Conversation, "delete")
    assert not hasattr(Conversation, "signal_idle")


def test_each_piece_of_an_answer_is_kept_as_a_step_with_the_text_so_far(
    model: ScriptedModel,
) -> None:
    words = "word " * 100
    model.then(say(words, chunks=100, delay=0.01))

    async def main() -> None:
        async with raw(model.openai_config()) as agent:
            await ask(agent, "hi")
            texts = [step.content for step in agent.conversation.history[1:]]

            assert len(texts) > 3
            assert texts == sorted(texts, key=len)
            assert all(words.startswith(text) for text in texts)

    run(main())


def test_a_conversation_that_was_left_is_one_small_database_that_needs_no_transcripts(
    model: ScriptedModel, tmp_path: Path
) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        stays = supervisor.create_agent(model.openai_config(), "stays")
        agent = supervisor.create_agent(model.openai_config(), "ada")
        agent.ask(Chat("hi"), timeout=PATIENCE)
        conversation = agent.ask(GetConversationId())
        agent.ask(Disconnect(), timeout=PATIENCE)

        database = tmp_path / f"{conversation}.db"
        files = [path.name for path in tmp_path.glob(f"{conversation}*")]
        shutil.rmtree(tmp_path / "app_data" / "brain" / conversation)
        content = database.read_bytes()
        again = supervisor.create_agent(model.openai_config(), "ada")
        history = [step.content for step in again.ask(GetHistory())]

        assert files == [database.name]
        assert 300_000 < len(content) < 600_000
        assert len(gzip.compress(content)) < 30_000
        assert history == ["hi", "echo: hi"]
        assert stays.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_other_users_can_read_transcripts_but_not_databases(
    model: ScriptedModel, tmp_path: Path
) -> None:
    async def main() -> None:
        async with raw(lasting(model, tmp_path)) as agent:
            await ask(agent, "hi")

    run(main())
    modes = {
        path.suffix: stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if path.suffix in (".db", ".jsonl")
    }
    assert modes == {".db": 0o600, ".jsonl": 0o644}


# Tools, hooks and triggers.


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


def broken() -> str:
    """Fail."""
    raise StopIteration


async def odd() -> str:
    """Fail."""
    raise Odd


@pytest.mark.parametrize("tool", [broken, odd])
def test_a_turn_whose_tool_raises_an_exception_that_no_future_accepts_hangs(
    model: ScriptedModel, tool: Callable[[], Any]
) -> None:
    model.then(call_tool(tool.__name__), say("done"))

    async def main() -> None:
        async with raw(model.openai_config(tools=[tool])) as agent:
            assert await hangs(ask(agent, "go"))

    run(main())


def test_a_tool_of_a_cancelled_turn_continues(model: ScriptedModel) -> None:
    model.then(call_tool("wait"))

    async def main() -> None:
        called, cancelled, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def wait() -> str:
            """Wait."""
            called.set()
            try:
                await go.wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return "done"

        async with raw(model.openai_config(tools=[wait])) as agent:
            turn = asyncio.create_task(ask(agent, "go"))
            await called.wait()
            await agent.conversation.cancel()
            with pytest.raises(AntigravityCancelledError):
                await turn

            assert not cancelled.is_set()
            go.set()

    run(main())


def pre_turn_hook(behaviour: Callable[[], Any]) -> Any:
    @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
    async def check(prompt: str) -> Any:
        del prompt
        return behaviour()

    return check


def fail() -> None:
    raise ValueError("MARK")


@pytest.mark.parametrize("behaviour", [fail, lambda: None], ids=["raises", "returns None"])
def test_a_hook_that_fails_before_a_turn_ends_the_connection(
    model: ScriptedModel, behaviour: Callable[[], Any]
) -> None:
    async def main() -> None:
        async with raw(model.openai_config(hooks=[pre_turn_hook(behaviour)])) as agent:
            with contextlib.suppress(Exception):
                assert await ask(agent, "one") == ""
            connection: Any = agent.conversation.connection
            await asyncio.wait([connection._reader_task], timeout=PATIENCE)

            assert connection._reader_task.done()

    run(main())


def test_a_turn_whose_hook_raises_a_base_exception_hangs(model: ScriptedModel) -> None:
    def raise_odd() -> None:
        raise Odd

    async def main() -> None:
        async with raw(model.openai_config(hooks=[pre_turn_hook(raise_odd)])) as agent:
            assert await hangs(ask(agent, "go"))

    run(main())


def test_an_agent_whose_hook_fails_at_the_start_starts(model: ScriptedModel) -> None:
    @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
    async def warm_up() -> None:
        raise ValueError("MARK")

    async def main() -> None:
        async with raw(model.openai_config(hooks=[warm_up])) as agent:
            assert await ask(agent, "hi") == "echo: hi"

    run(main())


def test_a_text_that_a_trigger_sends_during_a_turn_becomes_a_part_of_it(
    model: ScriptedModel,
) -> None:
    gate = threading.Event()
    model.when("hi", say("Hello.", gate=gate), times=1)

    async def main() -> None:
        go, sent = asyncio.Event(), asyncio.Event()

        async def ring(context: TriggerContext) -> None:
            await go.wait()
            await context.send("news")
            sent.set()

        async with raw(model.openai_config(triggers=[ring])) as agent:
            turn = asyncio.create_task(ask(agent, "hi"))
            await asyncio.to_thread(model.wait_for_requests, 1)
            go.set()
            await sent.wait()
            await asyncio.sleep(0.2)  # The harness does not report when it has it.
            gate.set()

            assert (await turn).startswith("Hello.echo: ")
            assert "content=news" in str(model.requests[1].messages)

    try:
        run(main())
    finally:
        gate.set()
