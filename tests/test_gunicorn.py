"""The documented Flask application under gunicorn, with workers that are forked."""

from __future__ import annotations

import collections
import contextlib
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import agy_actors
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import PATIENCE, has_ended, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"

pytestmark = pytest.mark.timeout(120)


class Server:
    """gunicorn and its processes."""

    def __init__(self, folder: Path, model: ScriptedModel) -> None:
        self.conversations = folder / "conversations"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.log = folder / "log"
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
        command += ["--worker-class", "gthread", "--threads", "8", "--bind", "127.0.0.1:0"]
        # The system chooses the worker that accepts a connection: in time each gets some.
        command += ["--keep-alive", "0", "--graceful-timeout", "30", "flask_view:app"]
        with self.log.open("w") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=EXAMPLES,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(agy_actors.__file__).parents[1]),
                    "OPENAI_BASE_URL": f"{model.base_url}/v1",
                    "OPENAI_MODEL": "scripted",
                    "STATE_DIR": str(self.conversations),
                    "TMPDIR": str(self.temporary),
                    "HOME": str(folder),  # gunicorn creates a socket there.
                },
            )
        self.process = psutil.Process(self._popen.pid)
        self.started: set[psutil.Process] = set()
        until(lambda: self.address() is not None)
        until(lambda: len(self.workers()) == 2)

    def address(self) -> str | None:
        found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", self.log.read_text())
        return found and found[1]

    def workers(self) -> list[psutil.Process]:
        return self.process.children()

    def note_processes(self) -> set[psutil.Process]:
        """Return its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):  # It has ended.
            self.started.update(self.process.children(recursive=True))
        return self.started

    def send(self, number: int) -> None:
        self.note_processes()
        self.process.send_signal(number)

    def end(self) -> int:
        return self._popen.wait(PATIENCE)

    def kill(self) -> None:
        for process in [*self.note_processes(), self.process]:
            if not has_ended(process):
                process.kill()
        self._popen.wait()


@pytest.fixture
def server(tmp_path: Path, model: ScriptedModel) -> Iterator[Server]:
    server = Server(tmp_path, model)
    yield server
    server.kill()


class Visitor:
    """A browser with its own cookies."""

    def __init__(self, server: Server) -> None:
        self._address = server.address()
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def post(self, text: str, path: str = "/ask") -> str:
        with self._browser.open(f"{self._address}{path}", text.encode(), PATIENCE) as answer:
            body: str = answer.read().decode()
        return body if path == "/stream" else str(json.loads(body)["text"])


def prompts_of(model: ScriptedModel, text: str) -> list[list[str]]:
    """Return the texts of users in each request that contains a text."""
    said = [[words for role, words in r.messages if role == "user"] for r in model.requests]
    return [users for users in said if any(text in words for words in users)]


def test_the_conversations_of_two_visitors_stay_separate(
    server: Server, model: ScriptedModel
) -> None:
    ada, bob = Visitor(server), Visitor(server)

    for turn in range(4):
        assert ada.post(f"ada {turn}: my PIN is 1234") == f"echo: ada {turn}: my PIN is 1234"
        assert bob.post(f"bob {turn}") == f"echo: bob {turn}"

    assert not [users for users in prompts_of(model, "1234") if any("bob" in u for u in users)]
    assert prompts_of(model, "ada 3")[-1] == [f"ada {n}: my PIN is 1234" for n in range(4)]
    assert prompts_of(model, "bob 3")[-1] == [f"bob {n}" for n in range(4)]


def test_a_visitor_keeps_one_conversation_on_all_workers(
    server: Server, model: ScriptedModel
) -> None:
    visitor = Visitor(server)
    visitor.post("prompt 0")
    with_harness: set[int] = set()

    turns = 1
    while len(with_harness) < 2:  # Until both workers have answered.
        assert turns < 60, "one worker took all requests"
        visitor.post(f"prompt {turns}", "/stream" if turns % 2 else "/ask")
        turns += 1
        with_harness = {worker.pid for worker in server.workers() if worker.children()}

    assert prompts_of(model, f"prompt {turns - 1}")[-1] == [f"prompt {n}" for n in range(turns)]


@pytest.mark.slow
def test_two_concurrent_prompts_of_a_visitor_are_both_answered(
    server: Server, model: ScriptedModel
) -> None:
    visitor = Visitor(server)
    visitor.post("first")  # With the cookie that comes back, all that follow are one visitor's.

    with ThreadPoolExecutor(6) as requests:
        answers = list(requests.map(visitor.post, [f"prompt {n}" for n in range(6)]))

    assert answers == [f"echo: prompt {n}" for n in range(6)]
    assert max(len(users) for users in prompts_of(model, "first")) == 7


class Load:
    """Visitors who ask one prompt after another, each on its own thread."""

    def __init__(self, server: Server, visitors: int) -> None:
        self._server = server
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.answered: collections.Counter[bool] = collections.Counter()
        self.refused = 0
        """Connections for which there was no listener."""
        self.reset: list[str] = []
        """Prompts whose connection was closed without an answer."""
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._visit, args=(number,)) for number in range(visitors)
        ]
        for thread in self._threads:
            thread.start()

    def _visit(self, number: int) -> None:
        visitor = Visitor(self._server)
        turn = 0
        while not self._over.is_set():
            prompt = f"visitor {number}, turn {turn}"
            turn += 1
            try:
                answer = visitor.post(prompt)
            except ConnectionError as error:
                self._note_failure(prompt, error)
            except urllib.error.HTTPError as error:
                self._note_wrong(f"{prompt}: {error.code} {error.read().decode()[:200]}")
            except urllib.error.URLError as error:
                self._note_failure(prompt, error.reason)
            else:
                with self._lock:
                    self.answered[answer == f"echo: {prompt}"] += 1

    def _note_failure(self, prompt: str, reason: object) -> None:
        if isinstance(reason, ConnectionRefusedError):
            self.refused += 1
            self._over.wait(0.05)
        elif isinstance(reason, ConnectionError):
            with self._lock:
                self.reset.append(prompt)
        else:
            self._note_wrong(f"{prompt}: {reason!r}")

    def _note_wrong(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)

    def wait_for_answers(self, more: int) -> None:
        wanted = self.answered[True] + more
        until(lambda: self.answered[True] >= wanted)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.mark.slow
def test_a_reload_under_load_loses_no_request(server: Server, model: ScriptedModel) -> None:
    model.when(".", say(lambda request: f"echo: {request.prompt}", first_delay=0.05))
    before = server.workers()
    load = Load(server, visitors=4)
    load.wait_for_answers(8)

    old = set(server.note_processes())
    server.send(signal.SIGHUP)
    until(lambda: all(map(has_ended, before)))
    load.wait_for_answers(8)
    load.end()

    assert load.wrong == []
    assert load.reset == []
    assert load.refused == 0
    assert load.answered[False] == 0
    assert not {worker.pid for worker in before} & {worker.pid for worker in server.workers()}
    until(lambda: all(map(has_ended, old)))


@pytest.mark.slow
def test_a_shutdown_under_load_answers_accepted_requests_and_leaves_nothing(
    server: Server, model: ScriptedModel
) -> None:
    model.when(".", say(lambda request: f"echo: {request.prompt}", first_delay=0.05))
    load = Load(server, visitors=4)
    load.wait_for_answers(8)

    server.send(signal.SIGTERM)
    code = server.end()
    until(lambda: load.refused > 0)
    load.end()

    assert code == 0
    assert load.wrong == []
    assert load.answered[False] == 0
    # The system takes connections for a listener until it is closed, and resets those that no
    # worker has accepted. Their requests have reached no agent.
    asked = {request.prompt for request in model.requests}
    assert not asked.intersection(load.reset)
    assert load.answered[True] == len(asked)
    until(lambda: all(map(has_ended, server.started)))
    assert list(server.temporary.iterdir()) == []
    assert not list(server.conversations.glob("*.lock"))
