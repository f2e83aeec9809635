"""The scripted model as a command."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import ScriptedModel
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def command(*options: str) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-W", "error", "-m", "agy_actors.testing.model", *options]
    with programs.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(address: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=10)
    body = {"messages": [{"role": "user", "content": "hi"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("options", "said"), [([], "echo: hi"), (["--reply", "yes"], "yes")])
def test_the_command_serves_until_a_signal_and_ends_well(
    options: list[str], said: str, end: signal.Signals
) -> None:
    with command(*options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[0]

        answer = ask(url.removeprefix("http://"))
        process.send_signal(end)
        rest, errors = process.communicate(timeout=20)

    assert answer == said
    assert f'LocalOpenAIAgentConfig(base_url="{url}", model="scripted")' in line
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_command_reports_a_port_that_is_in_use() -> None:
    with ScriptedModel() as model:
        port = model.base_url.rpartition(":")[2]
        with command("--port", port) as process:
            _, errors = process.communicate(timeout=20)

    assert process.returncode == 1
    assert f"port {port} cannot be used" in errors
