from __future__ import annotations

import gc
import logging
import os
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import agent as sdk_agent
from loguru import logger

from agy_actors import (
    Chat,
    GetStatistics,
    InvalidArgument,
    ModelError,
    Supervisor,
    carry_over_logging,
)
from agy_actors._sdk.sdk_logging import _redirect, redirect_logging
from agy_actors.testing import ScriptedModel, http_error
from tests import programs
from tests.logging_state import restored_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sk-very-secret-0123456789"
PROMPT = "a prompt that is nobody's business"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The package's log lines, as loguru's records."""
    records: list[dict[str, Any]] = []
    sink = logger.add(lambda message: records.append({**message.record}), level="DEBUG")
    logger.enable("agy_actors")
    yield records
    logger.disable("agy_actors")
    logger.remove(sink)


@pytest.fixture
def carried_over() -> Iterator[None]:
    with restored_logging():
        carry_over_logging()
        yield


def test_by_default_a_crash_and_a_failed_turn_log_nothing(
    model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("fail", http_error(400))
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
            import os, sys
            from agy_actors import *
            from agy_actors.testing.scripted_model.configs import openai_config

            with Supervisor.start() as supervisor:
                agent = supervisor.create_agent(openai_config(sys.argv[1], {}))
                os.kill(agent.ask(GetStatistics()).harness_pid, 9)
                assert agent.ask(Chat("hi")).text == "echo: hi"
                try:
                    agent.ask(Chat("fail"))
                except ModelError:
                    pass
                assert agent.ask(Chat("hi")).text == "echo: hi"
        """)
    )

    ended = programs.run(
        [sys.executable, str(script), model.base_url],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_log_lines_are_bound_to_their_agent_and_supervisor(
    model: ScriptedModel, lines: list[dict[str, Any]]
) -> None:
    with Supervisor.start(name="boss") as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        agent.ask(Chat("one"))
        agent.ask(Chat("two"))

    extras = [line["extra"] for line in lines]
    assert extras
    assert all(extra["supervisor"] == "boss" for extra in extras)
    about_turns = [line for line in lines if "turn" in line["extra"]]
    assert [line["extra"]["turn"] for line in about_turns if "starts" in line["message"]] == [1, 2]
    assert {line["extra"]["agent"] for line in about_turns} == {"poet"}


def test_a_crash_is_logged_as_a_warning_and_giving_up_as_an_error(
    model: ScriptedModel, lines: list[dict[str, Any]]
) -> None:
    with Supervisor.start(max_restarts=1) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        for crash in range(2):
            pid = agent.ask(GetStatistics()).harness_pid
            assert pid is not None
            os.kill(pid, 9)
            if crash == 0:
                agent.ask(Chat("hi"))
        assert agent.actor_stopped.wait(10)

    said = [(line["level"].name, line["message"]) for line in lines if line["level"].no > 10]
    assert [level for level, _ in said] == ["WARNING", "ERROR"]
    assert "restarts in 0.00 s" in said[0][1]
    assert "given up" in said[1][1]


def test_no_log_line_contains_a_key_and_only_debug_lines_contain_a_prompt(
    model: ScriptedModel, lines: list[dict[str, Any]], carried_over: None
) -> None:
    model.when("fail", http_error(400, f"key {SECRET} cannot say {PROMPT}"))

    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(model.gemini_config(api_key=SECRET), "poet")
        agent.ask(Chat(PROMPT))
        with pytest.raises(ModelError) as caught:
            agent.ask(Chat(f"fail {PROMPT}"))
        agent.ask(Chat(PROMPT))

    assert SECRET not in str(caught.value)
    own = [line for line in lines if "origin" not in line["extra"]]
    assert own
    assert not [line for line in own if SECRET in f"{line['message']} {line['extra']}"]
    assert not [line for line in lines if line["level"].no > 10 and PROMPT in line["message"]]


def test_pykkas_lines_are_carried_over(lines: list[dict[str, Any]], carried_over: None) -> None:
    logging.getLogger("pykka").warning("said %s", "so")

    [line] = [line for line in lines if line["extra"].get("origin") == "pykka"]
    assert (line["level"].name, line["message"]) == ("WARNING", "said so")


def test_carrying_over_twice_logs_no_line_twice(
    lines: list[dict[str, Any]], carried_over: None
) -> None:
    carry_over_logging()

    logging.getLogger("pykka").warning("once")

    assert [line["message"] for line in lines].count("once") == 1


def test_a_level_can_be_given_by_name(lines: list[dict[str, Any]], carried_over: None) -> None:
    carry_over_logging("WARNING")

    log_as_the_sdk("AgentActor-1 (poet)")
    logging.getLogger("pykka").info("too low")

    assert [line["message"] for line in lines] == ["words"]


@pytest.mark.parametrize("level", ["loud", "", None, True, 1.5], ids=repr)
def test_an_invalid_level_is_refused(level: Any, carried_over: None) -> None:
    with pytest.raises(InvalidArgument, match="level"):
        carry_over_logging(level)

    assert _redirect.min_level == logging.INFO


def log_as_the_sdk(thread_name: str, module: ModuleType = sdk_agent) -> list[logging.LogRecord]:
    """Log as a module of the SDK does, and return the records that reach the root logger."""
    reached: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reached.append(record)

    redirect_logging()
    keep = Keep()
    logging.getLogger().addHandler(keep)
    call = compile("logging.warning('%s', 'words')", module.__file__ or "", "exec")
    thread = threading.Thread(target=exec, args=(call, vars(module)), name=thread_name)
    thread.start()
    thread.join()
    logging.getLogger().removeHandler(keep)
    return [record for record in reached if record.getMessage() == "words"]


@pytest.mark.parametrize("name", ["AgentActor-7", "AgentActor-1 (poet)", "agy_actors-stderr"])
def test_log_records_of_the_sdk_in_an_agents_thread_do_not_reach_the_root_logger(name: str) -> None:
    assert log_as_the_sdk(name) == []


def test_modules_are_redirected_while_others_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_another(phase: str, info: dict[str, int]) -> None:
        del phase, info
        monkeypatch.setitem(sys.modules, f"another_{len(sys.modules)}", ModuleType("another"))

    monkeypatch.setattr(sdk_agent, "logging", logging)
    before = gc.get_threshold()
    gc.callbacks.append(import_another)
    gc.set_threshold(5)  # Up to Python 3.11 it runs in the middle of a call such as `list`.
    try:
        redirect_logging()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(import_another)

    assert vars(sdk_agent)["logging"] is _redirect


@pytest.mark.parametrize("name", ["MainThread", "asyncio_0", "harness-stderr", "Thread-1"])
def test_log_records_of_the_sdk_in_other_threads_reach_the_root_logger_unchanged(name: str) -> None:
    [record] = log_as_the_sdk(name)

    assert (record.name, record.levelname) == ("root", "WARNING")
    assert record.pathname == sdk_agent.__file__


@pytest.mark.parametrize("function", ["debug", "info", "warning", "error", "critical", "exception"])
def test_a_redirected_record_names_the_line_that_logs_it(
    function: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    getattr(_redirect, function)("words")

    [record] = caplog.records
    level = "ERROR" if function == "exception" else function.upper()
    assert (record.levelname, record.filename, record.funcName) == (
        level,
        Path(__file__).name,
        "test_a_redirected_record_names_the_line_that_logs_it",
    )


def test_log_records_of_a_tool_in_an_agents_thread_reach_the_root_logger() -> None:
    assert len(log_as_the_sdk("AgentActor-7", sys.modules[__name__])) == 1


def test_agents_change_neither_the_root_logger_nor_the_sdks_loggers(model: ScriptedModel) -> None:
    root, sdk = logging.getLogger(), logging.getLogger("google.antigravity")

    def settings() -> list[object]:
        return [(log.filters[:], log.handlers[:], log.level, log.propagate) for log in (root, sdk)]

    before = settings()

    with Supervisor.start() as supervisor:
        supervisor.create_agent(model.openai_config()).ask(Chat("hi"))

    assert settings() == before


def test_the_sdks_lines_are_carried_over_as_debug(
    lines: list[dict[str, Any]], carried_over: None
) -> None:
    log_as_the_sdk("AgentActor-7")

    [line] = [line for line in lines if line["extra"].get("origin") == "google.antigravity"]
    assert (line["level"].name, line["message"]) == ("DEBUG", "words")


def test_real_agents_log_nothing_on_the_root_logger(
    model: ScriptedModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    model.when("fail", http_error(400))

    with Supervisor.start() as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        with pytest.raises(ModelError):
            agent.ask(Chat("fail"))
        agent.ask(Chat("hi"))

    assert [record for record in caplog.records if record.name == "root"] == []
