"""Runs each documented program in its own process, as a reader does."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors.testing import ToolCall, Usage, call_tool, call_tools, say, silence
from tests import programs
from tests.harnesses import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agy_actors.testing import ModelRequest, ScriptedModel

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = DOCS / "examples"
HELPERS = {"mcp_server"}  # Started by another example.
TESTS = {"team_and_its_test"}  # Run as a user's tests, by `simulation/test_plugin.py`.
WEB = {"gunicorn_conf", "web_django", "web_fastapi", "web_flask", "web_sessions"}  # By `web/`.

PATIENCE = 45.0
"""Seconds for a program; less than the limit of a test. Only a failing test waits this long."""

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class Program:
    """Runs an example against a scripted model."""

    name: str
    model: ScriptedModel
    folder: Path
    """The working folder, where it may leave conversations."""

    def __post_init__(self) -> None:
        self._mark = f"EXAMPLE={uuid.uuid4()}"
        self._temporary = self.folder / "temporary"
        self._temporary.mkdir()

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run it to its end, and return what it printed."""
        process = self._start(*arguments)
        try:
            printed, complaints = process.communicate(stdin, PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, complaints = process.communicate()
            pytest.fail(f"{self.name} did not end; it printed:\n{printed}{complaints}")
        assert (process.returncode, _ours(complaints)) == (0, ""), printed + complaints
        self._left_nothing()
        return printed

    def serve(self, visit: Callable[[str], None]) -> None:
        """Start a server, visit its address, and end it with Ctrl-C."""
        process = self._start()
        assert process.stderr is not None
        log = ""
        try:
            for line in process.stderr:
                log += line
                if found := re.search(r"[Rr]unning on (http://127\.0\.0\.1:\d+)", line):
                    visit(found[1])
                    process.send_signal(signal.SIGINT)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0, log
        assert "running on" in log.lower()
        assert "Traceback" not in log
        self._left_nothing()

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # As where a shell runs the tests
            signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background.
        mark, _, value = self._mark.partition("=")
        return programs.Popen(
            [sys.executable, str(EXAMPLES / f"{self.name}.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                "OPENAI_BASE_URL": f"{self.model.base_url}/v1",
                "OPENAI_MODEL": "scripted",
                "PORT": "0",
                "TMPDIR": str(self._temporary),
                mark: value,
            },
        )

    def _left_nothing(self) -> None:
        until(lambda: not list(self._processes()))
        assert list(self._temporary.iterdir()) == []

    def _processes(self) -> Iterator[psutil.Process]:
        """Find the processes that it started by a variable that they inherit; orphans too."""
        mark, _, value = self._mark.partition("=")
        for process in psutil.process_iter():
            try:
                if process.environ().get(mark) == value:
                    yield process
            except psutil.Error:
                pass  # It ended just now, or is another user's.


def _ours(complaints: str) -> str:
    """Leave out what Google's GenAI package says of every tool, whatever the SDK gives it."""
    lines = complaints.splitlines()
    return "".join(line for line in lines if "use_json_schema is not True" not in line)


def documented_output(name: str) -> list[str]:
    """Return the lines that the page of examples shows below a program."""
    page = (DOCS / "examples.rst").read_text()
    section = page.partition(f"literalinclude:: examples/{name}.py\n")[2].partition("\n.. _")[0]
    block = section.partition(".. code-block:: text\n")[2]
    return [line.strip() for line in block.splitlines() if line.strip()]


def hello(program: Program) -> None:
    usage = Usage(prompt=10, completion=5)
    program.model.then(say("Rain on the old roof", usage=usage), say("Snow", usage=usage))

    printed = program.run()

    assert printed == "Rain on the old roof\nSnow\ntokens: 30\n"
    assert ("assistant", "Rain on the old roof") in program.model.requests[1].messages


def streaming(program: Program) -> None:
    program.model.then(
        say("Once upon a time it rained."),
        call_tool("factors", {"number": 91}),
        say("No, it is 7 times 13."),
        silence("One Two"),
    )

    story, tool, *texts, whole, first = program.run().splitlines()

    assert story == "Once upon a time it rained."
    assert tool.startswith("tool: factors {'number': 91")
    assert "".join(text.removeprefix("text: ") for text in texts) == "No, it is 7 times 13."
    assert whole == "whole: No, it is 7 times 13."
    assert first.startswith("It begins with One")
    assert program.model.wait_for_disconnect().prompt == "Count to a million"


def pool(program: Program) -> None:
    capitals = {
        "France": "Paris",
        "Japan": "Tokyo",
        "Kenya": "Nairobi",
        "Peru": "Lima",
        "Norway": "Oslo",
        "Nepal": "Kathmandu",
    }
    for country, capital in capitals.items():
        program.model.when(country, say(capital))

    *in_order, as_done = program.run().splitlines()

    assert in_order == [f"{country}: {capital}" for country, capital in capitals.items()]
    assert sorted(as_done.split()) == sorted(capitals.values())


def supervised_cache(program: Program) -> None:
    printed = program.run().splitlines()

    assert printed[1:] == ["tea: green", "the cache starts", "coffee: black", "tea: None"]
    assert printed == documented_output(program.name)


def periodic_job(program: Program) -> None:
    printed = program.run().splitlines()

    assert printed[-2:] == ["the job starts", "report of Wednesday"]
    assert printed == documented_output(program.name)


def tools(program: Program) -> None:
    program.model.then(
        call_tools(ToolCall("price", {"fruit": fruit}) for fruit in ("apple", "pear")),
        call_tools(ToolCall("sell", {"fruit": fruit}) for fruit in ("apple", "pear")),
        say("An apple is 0.50 euros; pears are sold out."),
    )

    called, *rest = program.run().splitlines()

    calls = sorted(called.removeprefix("called: ").split(", "))
    assert calls == ["price(apple)", "price(pear)", "sell(apple)", "sell(pear)"]
    assert rest == [
        "An apple is 0.50 euros; pears are sold out.",
        "left: {'apple': 2, 'pear': 0}",
        "tools: price sell",
    ]
    outputs = " ".join(result.output for result in program.model.requests[-1].tool_results)
    assert "0.75" in outputs
    assert "sold one apple" in outputs
    assert "no pear is left" in outputs


def agents_as_tools(program: Program) -> None:
    program.model.when("^good morning$", say("bonjour"))
    program.model.when("^bonjour$", say("short and kind"))
    program.model.when(
        "Translate 'good morning'",
        call_tool("translate", {"prompt": "good morning"}),
        call_tool("judge", {"prompt": "bonjour"}),
        say("'bonjour': short and kind"),
    )

    printed = program.run()

    assert printed == "asked: translate, judge\n'bonjour': short and kind\n"
    translated, judged = program.model.requests[-1].tool_results
    assert "bonjour" in translated.output
    assert "short and kind" in judged.output


def hooks(program: Program) -> None:
    program.model.then(call_tool("lookup", {"word": "FOO"}), say("It stands for anything."))

    shown, answer, refused = program.run().splitlines()

    assert shown.startswith("tool: ")
    assert "foo: something" in shown
    assert answer == "It stands for anything."
    assert refused.startswith("refused: ")
    assert "no passwords, please" in refused
    assert len(program.model.requests) == 2


def policies_with_a_human(program: Program) -> None:
    def told(request: ModelRequest) -> str:
        return "Done." if "is gone" in request.tool_results[-1].output else "I may not."

    for file in ("a.txt", "b.txt"):
        program.model.then(call_tool("delete", {"file": file}), say(told))

    printed = program.run(stdin="yes\nno\n").splitlines()

    assert printed == [
        "janitor wants to delete a.txt. Yes or no?",
        "Done.",
        "janitor wants to delete b.txt. Yes or no?",
        "I may not.",
    ]


def structured_output(program: Program) -> None:
    tokyo = {"name": "Tokyo", "country": "Japan", "population": 37_000_000}
    program.model.when("of Japan", call_tool("finish", tokyo), say("Done."))
    program.model.when("of the moon", say("There is none."))

    printed = program.run().splitlines()

    assert printed == ["Tokyo has 37,000,000 inhabitants", "no city: There is none."]


def multimodal(program: Program) -> None:
    picture = program.folder / "picture.png"
    picture.write_bytes(PICTURE)
    program.model.then(say("A dot."), say("They are alike."))

    one, two, refused = program.run(str(picture)).splitlines()

    assert [one, two] == ["A dot.", "They are alike."]
    assert refused.startswith("refused: part ")
    seen = [
        str(request.body).count(base64.b64encode(PICTURE).decode())
        for request in program.model.requests
    ]
    assert seen == [1, 3]


def mcp_tools(program: Program) -> None:
    program.model.then(
        call_tool(
            "call_mcp_tool",
            {"ServerName": "units", "ToolName": "miles", "Arguments": {"kilometres": 42}},
        ),
        say("About 26 miles."),
    )

    printed = program.run()

    assert printed == "called: miles\nAbout 26 miles.\n"
    assert "26.1 miles" in program.model.requests[-1].tool_results[0].output


def triggers(program: Program) -> None:
    def told_by_itself(request: ModelRequest) -> bool:
        return "sender=automated_trigger" in request.messages[-1][1]

    program.model.when("What happened", say("The printer was on fire."))
    program.model.when(told_by_itself, call_tool("alert", {"problem": "The printer burns."}))

    alert, answer = program.run().splitlines()

    assert alert == "alert: The printer burns."
    assert "The printer was on fire." in answer
    assert "The printer is on fire." in program.model.requests[0].messages[-1][1]


def persistence(program: Program) -> None:
    program.model.then(say("Noted."), say("You had soup."))

    first = program.run("I", "had", "soup")
    second = program.run("What did I have?")

    assert first == "turns before: 0\nNoted.\n"
    assert second == "turns before: 1\nYou had soup.\n"
    assert ("user", "I had soup") in program.model.requests[1].messages


def recovery(program: Program) -> None:
    program.model.then(say("I will."), say("It was 7."))

    printed = program.run().splitlines()

    assert [line for line in printed if ":" not in line] == ["I will.", "It was 7."]
    assert "AgentCrashed: cat" in printed
    assert printed.count("AgentReady: cat") == 2
    assert "restarts: 1" in printed
    assert ("assistant", "I will.") in program.model.requests[1].messages


def asyncio_service(program: Program) -> None:
    program.model.when("Hi", say("Hello."))
    program.model.when("Go on", say("Bit by bit."))

    def visit(address: str) -> None:
        with ThreadPoolExecutor() as visitors:
            whole = visitors.submit(post, f"{address}/ask", "Hi")
            streamed = visitors.submit(post, f"{address}/stream", "Go on")
        assert (whole.result(), streamed.result()) == ("Hello.", "Bit by bit.")

    program.serve(visit)


def thread_pool(program: Program) -> None:
    for topic in ("rivers", "stars", "bread"):
        program.model.when(f"sentence about {topic}", say(f"On {topic}."))
    program.model.when("another one", say(lambda request: f"More {request.messages[-2][1]}"))

    *lines, more = program.run().splitlines()

    assert lines == ["rivers: On rivers.", "stars: On stars.", "bread: On bread."]
    assert more == "['More On bread.', 'More On rivers.', 'More On stars.']"


SCRIPTS: dict[str, Callable[[Program], None]] = {
    script.__name__: script
    for script in (
        hello,
        streaming,
        pool,
        supervised_cache,
        periodic_job,
        tools,
        agents_as_tools,
        hooks,
        policies_with_a_human,
        structured_output,
        multimodal,
        mcp_tools,
        triggers,
        persistence,
        recovery,
        thread_pool,
        asyncio_service,
    )
}


def post(address: str, text: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(address, text.encode(), PATIENCE) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_documented_example_works(name: str, model: ScriptedModel, tmp_path: Path) -> None:
    SCRIPTS[name](Program(name, model, tmp_path))


def test_every_example_is_tested_and_documented() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    listed = (DOCS / "examples.rst").read_text()

    assert names == set(SCRIPTS) | HELPERS | TESTS | WEB
    for name in names:
        assert f"examples/{name}.py" in listed
