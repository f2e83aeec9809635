from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors.cli.demo_prompts import DEMO_ANSWERS, DEMO_CONVERSATIONS, DEMO_PROMPTS
from agy_actors.cli.local_model import available
from agy_actors.testing import ScriptedModel, http_error, silence
from tests.cli.command_line import (
    PATIENCE,
    Terminal,
    at,
    demo_answer,
    run,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENTS = ("north", "east", "south", "west")
KILLED = DEMO_CONVERSATIONS[2]


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(demo_answer) as model:
        yield model


def test_every_prompt_is_answered_and_the_killed_agent_is_restarted(model: ScriptedModel) -> None:
    done = run("demo", *at(model))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("scripted on 127.0.0.1:")
    for prompt, answer in DEMO_ANSWERS.items():
        assert f"{prompt} → {answer}" in done.stdout
    assert "24 of 24 prompts answered by 4 agents" in done.stdout
    assert "south crashed: its process " in done.stdout
    assert "its conversation was resumed: id " in done.stdout
    assert "turns 3 before the crash and 6 now" in done.stdout
    assert "(remembered from before the crash)" in done.stdout
    # The waits of a machine with other load may be long enough to be printed.
    assert [line for line in done.stderr.splitlines() if not line.startswith("waiting for ")] == []


def test_the_model_gets_the_conversation_before_the_crash(model: ScriptedModel) -> None:
    run("demo", *at(model))

    (last,) = (request for request in model.requests if request.prompt == KILLED[-1])
    for prompt in KILLED[:3]:
        assert ("user", prompt) in last.messages
        assert ("assistant", DEMO_ANSWERS[prompt]) in last.messages
    others = set(DEMO_PROMPTS) - set(KILLED)
    assert not others & {text for _, text in last.messages}


def test_a_rehearsal_is_labelled() -> None:
    done = run("demo", "--rehearse")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("REHEARSAL")
    assert "24 of 24 prompts answered" in done.stdout
    assert "scripted, so it proves nothing" in done.stdout


def test_an_unanswered_prompt_is_printed_and_exits_with_1(model: ScriptedModel) -> None:
    model.when("Who wrote Hamlet", http_error(400, "cannot say"))

    done = run("demo", *at(model))

    assert done.returncode == 1
    assert "Who wrote Hamlet? → ✗ ModelError: " in done.stdout
    assert "23 of 24 prompts answered" in done.stdout


def test_a_terminal_shows_a_table(model: ScriptedModel) -> None:
    with Terminal("demo", *at(model)) as terminal:
        terminal.shows("last prompt")
        assert terminal.ends() == 0

    table = terminal.output[terminal.output.rindex("last prompt") :]
    for name in AGENTS:
        (row,) = (line for line in table.splitlines() if line.startswith(f"{name:<6}│"))
        _, state, turns, restarts, *_ = (cell.strip() for cell in row.split("│"))
        assert (state, turns, restarts) == ("idle", "6", "1" if name == "south" else "0")


def test_a_narrow_terminal_shows_a_table_without_prompts(model: ScriptedModel) -> None:
    with Terminal("demo", *at(model), variables={"COLUMNS": "40"}) as terminal:
        terminal.shows("restarts")
        assert terminal.ends() == 0

    output = terminal.output.replace("\r", "")
    header, _, *rows = output[output.rindex("agent ") :].split("\n")[:6]
    assert header.split("┃") == ["agent ", " state      ", " turns ", " restarts"]
    assert [row.split("│") for row in rows] == [
        [f"{name:<6}", " idle       ", "     6 ", f"        {int(name == 'south')}"]
        for name in AGENTS
    ]


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_no_process(
    model: ScriptedModel, end: signal.Signals, code: int
) -> None:
    model.when("", silence())

    with start("demo", *at(model)) as process:
        model.wait_for_requests(4, timeout=PATIENCE)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(end)
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == code
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=5)
    assert len(children) >= 4
    assert not alive


@pytest.mark.slow
@pytest.mark.small_model
@pytest.mark.skipif(not available(), reason=f"not installed: {available().remedy}")
@pytest.mark.timeout(120)
def test_the_small_model_answers_and_remembers() -> None:
    with start("demo", stdin=None) as process:
        out, err = process.communicate(timeout=110)

    assert process.returncode == 0, out + err
    assert out.startswith("SmolLM2-135M-Instruct on this machine")
    assert "24 of 24 prompts answered" in out
    assert "(remembered from before the crash)" in out
