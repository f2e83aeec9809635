from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from agy_actors import (
    Chat,
    GetStatistics,
    InvalidArgument,
    ModelError,
    Supervisor,
    carry_over_logging,
)
from agy_actors._log import _hush, _ToLoguru, hush_sdk
from agy_actors.testing import ScriptedModel, http_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "sk-very-secret-0123456789"
PROMPT = "a prompt that is nobody's business"
SDK_FILE = "/site-packages/google/antigravity/agent.py"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Have what is logged by the package, as loguru's records."""
    records: list[dict[str, Any]] = []
    sink = logger.add(lambda message: records.append({**message.record}), level="DEBUG")
    logger.enable("agy_actors")
    yield records
    logger.disable("agy_actors")
    logger.remove(sink)


@pytest.fixture
def carried_over() -> Iterator[None]:
    level = logging.getLogger("pykka").level
    carry_over_logging()
    yield
    pykka_logger = logging.getLogger("pykka")
    for handler in [h for h in pykka_logger.handlers if isinstance(h, _ToLoguru)]:
        pykka_logger.removeHandler(handler)
    pykka_logger.setLevel(level)
    _hush.carry_from = None


def test_nothing_is_said_through_a_crash_and_a_failed_turn_by_default(
    model: ScriptedModel, tmp_path: Path
) -> None:
    model.when("fail", http_error(400))
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
            import os, sys
            from agy_actors import *
            from agy_actors.testing._model_configs import openai_config

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

    ended = subprocess.run(
        [sys.executable, str(script), model.base_url],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_lines_are_bound_to_what_they_are_about(
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


def test_a_crash_is_a_warning_and_giving_up_an_error(
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


def test_no_line_holds_a_key_and_none_above_debug_a_prompt(
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


def test_carrying_over_twice_says_nothing_twice(
    lines: list[dict[str, Any]], carried_over: None
) -> None:
    carry_over_logging()

    logging.getLogger("pykka").warning("once")

    assert [line["message"] for line in lines].count("once") == 1


def test_a_level_may_be_given_by_its_name(lines: list[dict[str, Any]], carried_over: None) -> None:
    carry_over_logging("WARNING")

    say_as_the_sdk("AgentActor-1 (poet)")
    logging.getLogger("pykka").info("too low")

    assert [line["message"] for line in lines] == ["words"]


@pytest.mark.parametrize("level", ["loud", "", None, True, 1.5], ids=repr)
def test_a_level_that_is_none_is_refused(level: Any, carried_over: None) -> None:
    with pytest.raises(InvalidArgument, match="level"):
        carry_over_logging(level)

    assert _hush.carry_from == logging.INFO


def say_as_the_sdk(thread_name: str, path: str = SDK_FILE) -> list[logging.LogRecord]:
    """Log on the root logger as the SDK does, and return what got through."""
    through: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            through.append(record)

    def say() -> None:
        root = logging.getLogger()
        record = root.makeRecord("root", logging.WARNING, path, 1, "words", (), None)
        root.handle(record)

    keep = Keep()
    logging.getLogger().addHandler(keep)
    thread = threading.Thread(target=say, name=thread_name)
    thread.start()
    thread.join()
    logging.getLogger().removeHandler(keep)
    return [record for record in through if record.getMessage() == "words"]


def test_what_the_sdk_says_of_our_agents_stays_off_the_root_logger() -> None:
    hush_sdk()

    assert say_as_the_sdk("AgentActor-7") == []


@pytest.mark.parametrize("name", ["MainThread", "asyncio_0", "harness-stderr", "Thread-1"])
def test_what_the_sdk_says_to_its_other_users_is_not_swallowed(name: str) -> None:
    hush_sdk()

    assert len(say_as_the_sdk(name)) == 1


def test_what_a_tool_says_in_an_agents_thread_is_not_swallowed() -> None:
    hush_sdk()

    assert len(say_as_the_sdk("AgentActor-7", "/home/me/tools.py")) == 1


def test_the_sdks_lines_are_carried_over_as_debug(
    lines: list[dict[str, Any]], carried_over: None
) -> None:
    say_as_the_sdk("AgentActor-7")

    [line] = [line for line in lines if line["extra"].get("origin") == "google.antigravity"]
    assert (line["level"].name, line["message"]) == ("DEBUG", "words")


def test_real_agents_say_nothing_on_the_root_logger(
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
