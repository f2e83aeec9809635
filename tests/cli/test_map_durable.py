"""``map --durable``: prompts are durable requests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from agy_actors.testing import ScriptedModel, http_error, say, silence
from tests.cli.command_line import PATIENCE, at, run, start
from tests.cli.map_results import asked, records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def command(model: ScriptedModel, results: Path) -> list[str]:
    return ["map", "-", "-o", str(results), "-n", "2", "--durable", *at(model)]


def echo(model: ScriptedModel) -> None:
    model.when("", say(lambda request: f"echo: {request.prompt}"))


def test_all_prompts_are_answered_and_only_the_results_stay(
    model: ScriptedModel, command: list[str], results: Path
) -> None:
    echo(model)
    done = run(*command, stdin="a\nb\nc\n")

    assert [(r["prompt"], r["text"]) for r in records(results.read_text())] == [
        (prompt, f"echo: {prompt}") for prompt in "abc"
    ]
    assert done.returncode == 0
    assert [path.name for path in results.parent.iterdir()] == [results.name]


def test_an_answer_that_was_not_written_is_not_asked_again(
    model: ScriptedModel, command: list[str], results: Path
) -> None:
    model.when("a", say("the answer"))
    model.when("b", silence("half an ans"))
    prompts = results.with_name("prompts.txt")
    prompts.write_text("a\nb\n")
    command = [str(prompts) if part == "-" else part for part in command]
    with start(*command) as process:
        try:
            model.wait_for_requests(2, timeout=PATIENCE)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
    results.write_text("")  # As if the first answer had not reached the disk.
    model.reset()
    echo(model)

    done = run(*command)

    assert done.returncode == 0
    assert {r["prompt"] for r in records(results.read_text())} == {"a", "b"}
    assert "a" not in asked(model) or len(asked(model)) == 2


def test_a_prompt_that_failed_is_asked_again_by_the_next_run(
    model: ScriptedModel, command: list[str], results: Path
) -> None:
    model.when("b", http_error(400), times=1)
    first = run(*command, stdin="a\nb\n")
    folder = results.with_name(f"{results.name}.requests")
    assert first.returncode == 1
    assert folder.is_dir()
    model.reset()
    echo(model)

    second = run(*command, stdin="a\nb\n")

    assert asked(model) == ["b"]
    assert second.returncode == 0
    assert not folder.exists()


def test_without_a_file_of_results_it_is_refused(model: ScriptedModel) -> None:
    done = run("map", "-", "--durable", *at(model), stdin="a\n")

    assert "with -o" in done.stderr
    assert done.returncode == 2
