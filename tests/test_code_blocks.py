"""Runs every code block of the documentation.

Blocks of Python run in the order of their document, in one namespace. It has the public names of
agy_actors, and what the text takes for granted: a supervisor, a configuration, an agent. Blocks
with shell commands are checked: the programs, modules, options and extras that they name exist.
The tutorial is played by `test_tutorial.py`.
"""

from __future__ import annotations

import ast
import asyncio
import configparser
import importlib.util
import inspect
import re
import shlex
import signal
import warnings
from typing import TYPE_CHECKING, Any

import google.antigravity
import hypothesis
import pytest
import tenacity
import typer.main

import agy_actors
from agy_actors import AsyncioActorRef, SupervisorRef
from agy_actors.cli.app import app
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.documents import DOCS, ROOT, Block, code_blocks, commands, documents
from tests.logging_state import restored_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TUTORIAL = DOCS / "tutorial.rst"
LANGUAGES = {"python", "console", "text"}
DIAGRAMS = {"architecture.rst"}
"""Documents whose literal blocks are pictures."""

PICTURE = bytes.fromhex("89504e470d0a1a0a")


# What documents take for granted, besides a supervisor and a configuration.


def agent(names: dict[str, Any], name: str) -> None:
    names[name] = names["supervisor"].create_agent(names["config"], name)


def poet(names: dict[str, Any]) -> None:
    agent(names, "poet")


def prompts(names: dict[str, Any]) -> None:
    names["prompts"] = ["The capital of Peru?", "The capital of Kenya?"]


def media(names: dict[str, Any]) -> None:
    (names["folder"] / "plan.pdf").write_bytes(b"%PDF-1.4")
    names["png"] = PICTURE


def city(names: dict[str, Any]) -> None:
    data = {"name": "Tokyo", "population": 37_000_000}
    names["model"].when("largest city", call_tool("finish", data))


def rain(names: dict[str, Any]) -> None:
    names["model"].when("in Oslo", call_tool("weather", {"city": "Oslo"}), say("It rains."))


def payment(names: dict[str, Any]) -> None:
    names["model"].when("Pay 5", call_tool("pay", {"amount": 5}), say("Paid."))


def news(names: dict[str, Any]) -> None:
    names["fetch_news"] = lambda: "The printer is on fire."


def four_agents(names: dict[str, Any]) -> None:
    for name in ("ada", "bob", "cleo", "dora"):
        agent(names, name)


SETUPS: dict[str, Callable[[dict[str, Any]], None]] = {
    "howto/agents.rst": poet,
    "howto/timeouts.rst": poet,
    "howto/streaming.rst": poet,
    "howto/pools.rst": prompts,
    "howto/prompts.rst": media,
    "howto/structured_output.rst": city,
    "howto/tools.rst": rain,
    "howto/people.rst": payment,
    "howto/triggers.rst": news,
    "howto/ending.rst": four_agents,
}


@pytest.fixture
def names(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[dict[str, Any]]:
    """The namespace of a document. Its agents are asked of a scripted model."""
    # A block may raise from a signal's handler that it sets, and may filter warnings.
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(google.antigravity, "LocalAgentConfig", model.gemini_config)
    with warnings.catch_warnings(), restored_logging():
        names = {
            **{name: getattr(agy_actors, name) for name in agy_actors.__all__},
            "LocalAgentConfig": model.gemini_config,
            "config": model.openai_config(),
            "folder": tmp_path,
            "model": model,
            "supervisor": supervisor,
            "tenacity": tenacity,
            "warnings": warnings,
        }
        yield names
    started = names["supervisor"]
    if started is not supervisor and isinstance(started, SupervisorRef):
        started.stop()
    signal.signal(signal.SIGTERM, handler)


def name_of(document: Path) -> str:
    return str(document.relative_to(DOCS if document.is_relative_to(DOCS) else ROOT))


def python_blocks(document: Path) -> list[Block]:
    return [block for block in code_blocks(document) if block.language == "python"]


def run(block: Block, names: dict[str, Any]) -> dict[str, Any]:
    """Run a block, in an event loop if it awaits, and return the tests that it defines."""
    source = "\n" * (block.line - 1) + block.code  # So that tracebacks have the document's lines.
    code = compile(source, str(block.document), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)
    return {name: names.pop(name) for name in list(names) if name.startswith("test_")}


@pytest.mark.timeout(180)  # Some explore many schedules: seconds alone, more beside other work.
@pytest.mark.parametrize(
    "document",
    [document for document in documents() if document != TUTORIAL and python_blocks(document)],
    ids=name_of,
)
def test_every_block_of_python_runs(
    document: Path, names: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if setup := SETUPS.get(name_of(document)):
        setup(names)
    given = dict(names)
    for block in python_blocks(document):
        for test in run(block, names).values():
            fixtures = [name for name in inspect.signature(test).parameters if name in FIXTURES]
            if hasattr(test, "hypothesis"):
                hypothesis.settings(max_examples=10)(test)  # It is to run, and not to search long.
            test(**{name: request.getfixturevalue(name) for name in fixtures})
        replace_ended(names, given)


def replace_ended(names: dict[str, Any], given: dict[str, Any]) -> None:
    """Give a block the running supervisor and agents again, if those of the last block ended."""
    for name, ref in given.items():
        now = names[name]
        if isinstance(now, AsyncioActorRef) and not now.is_alive():
            names[name] = ref


FIXTURES = {"agy_supervisor", "scripted_model", "simulation"}


def test_every_setup_belongs_to_a_document() -> None:
    assert set(SETUPS) <= {name_of(document) for document in documents()}


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_the_language_of_every_block_is_known(document: Path) -> None:
    for block in code_blocks(document):
        if block.language or document.name not in DIAGRAMS:
            assert block.language in LANGUAGES or is_command(block), f"{document}:{block.line}"


def is_command(block: Block) -> bool:
    """Return whether a literal block is one of the README's two commands."""
    return block.document.name == "README.rst" and block.code.startswith("python3 -m venv ")


def all_commands() -> Iterator[tuple[str, str]]:
    for document in documents():
        for block in code_blocks(document):
            if is_command(block):
                lines = block.code.splitlines()
            else:
                lines = [line for line, _ in commands(block)] if block.language == "console" else []
            for command in " && ".join(lines).split(" && ") if lines else []:
                if document != TUTORIAL or not command.startswith("python "):
                    yield f"{name_of(document)}:{block.line}", command


FOREIGN = {"cd", "docker", "git", "gunicorn", "mkdir", "source", "ssh"}
"""Programs of others, whose arguments are not checked."""

FOREIGN_MODULES = {"build", "sphinx", "twine"}
"""Modules that the extra `docs` installs."""


@pytest.mark.parametrize(("where", "command"), sorted(set(all_commands())))
def test_what_a_command_names_exists(where: str, command: str) -> None:
    words = shlex.split(command)
    while "=" in words[0]:
        del words[0]  # A variable.
    program = words[0].rpartition("/")[2]
    if program in {"python", "python3"}:
        check_python(words[1:])
    elif program == "pip":
        assert re.findall(r"\[(.*)\]", command) == [] or set(extras(command)) <= known_extras()
    elif program == "agy-actors":
        check_command_line(words[1:])
    else:
        assert program in FOREIGN or (ROOT / words[0]).is_file(), where


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        module = words[1]
        assert module in FOREIGN_MODULES or importlib.util.find_spec(module), module
    else:
        file = next(word for word in words if word.endswith(".py"))
        assert (ROOT / file).is_file(), file


def extras(command: str) -> list[str]:
    return [extra for group in re.findall(r"\[([\w,]+)\]", command) for extra in group.split(",")]


def known_extras() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return set(setup["options.extras_require"])


def check_command_line(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    if words and words[0] in group.commands:
        command = group.commands[words[0]]
        command.make_context(words[0], [word for word in words[1:] if word != "--help"])
    else:
        assert words == ["--help"]


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        check_command_line(["demo", "--no-such-option"])


def test_a_block_that_fails_is_found(names: dict[str, Any]) -> None:
    block = Block(DOCS / "index.rst", 7, "python", "await no_such_name")

    with pytest.raises(NameError) as caught:
        run(block, names)

    assert caught.traceback[-1].lineno == 6  # From 0.


def test_blocks_share_names_and_tests_are_returned(names: dict[str, Any]) -> None:
    run(Block(DOCS / "index.rst", 1, "python", "x = 1"), names)

    tests = run(Block(DOCS / "index.rst", 5, "python", "def test_x(): assert x == 1"), names)

    assert list(tests) == ["test_x"]
