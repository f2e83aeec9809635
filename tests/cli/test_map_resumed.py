"""Runs of ``map`` that continue an earlier run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors.testing import ScriptedModel, http_error, say, silence
from tests.cli.command_line import PATIENCE, at, run, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path
from tests.cli.map_results import asked, records


class TestARunThatWasInterrupted:
    """Thirty prompts, of which ten are answered and four are being asked."""

    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        return tmp_path / "out.jsonl"

    @pytest.fixture
    def command(self, model: ScriptedModel, results: Path) -> list[str]:
        prompts = results.with_name("prompts.txt")
        prompts.write_text("".join(f"prompt {n}\n" for n in range(30)))
        return ["map", str(prompts), "-o", str(results), "-n", "4", *at(model)]

    @pytest.fixture
    def interrupted(
        self, model: ScriptedModel, command: list[str]
    ) -> Iterator[subprocess.Popen[str]]:
        model.then(*[say(lambda request: f"echo: {request.prompt}")] * 10)
        model.when("", silence("half an ans"))
        with start(*command) as process:
            try:
                # The fourteenth is asked after the tenth is answered, and that written.
                model.wait_for_requests(14, timeout=PATIENCE)
                yield process
            finally:
                process.kill()

    @pytest.mark.parametrize(
        "ending", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
    )
    def test_the_same_command_asks_only_the_remaining_prompts(
        self,
        interrupted: subprocess.Popen[str],
        model: ScriptedModel,
        command: list[str],
        results: Path,
        ending: tuple[signal.Signals, int],
    ) -> None:
        end, code = ending
        interrupted.send_signal(end)
        assert interrupted.wait(PATIENCE) == code
        before = records(results.read_text())
        answered = {record["prompt"] for record in before}
        model.reset()

        done = run(*command)

        assert len(before) == 10
        assert asked(model) == sorted({f"prompt {n}" for n in range(30)} - answered)
        after = records(results.read_text())
        assert [(r["prompt"], r["text"]) for r in after] == [
            (f"prompt {n}", f"echo: prompt {n}") for n in range(30)
        ]
        assert "10 of 30 prompts are already answered" in done.stderr
        assert done.returncode == 0

    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
    def test_an_interruption_is_printed_and_leaves_no_process(
        self, interrupted: subprocess.Popen[str], results: Path, end: signal.Signals
    ) -> None:
        children = psutil.Process(interrupted.pid).children(recursive=True)
        assert children

        interrupted.send_signal(end)
        _, err = interrupted.communicate(timeout=PATIENCE)

        assert "interrupted; run it again to ask the remaining prompts: 10 of 30" in err
        assert "Traceback" not in err
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
        assert all(r["error"] is None for r in records(results.read_text()))

    def test_a_second_run_on_the_same_results_is_refused(
        self, interrupted: subprocess.Popen[str], command: list[str]
    ) -> None:
        done = run(*command)

        assert "another run is writing" in done.stderr
        assert done.returncode == 2


def test_a_failed_prompt_is_asked_again_by_the_next_run(
    model: ScriptedModel, tmp_path: Path
) -> None:
    command = ["map", "-", "-o", str(tmp_path / "out.jsonl"), *at(model)]
    model.when("b", http_error(400), times=1)
    first = run(*command, stdin="a\nb\n")
    model.reset()

    second = run(*command, stdin="a\nb\n")
    third = run(*command, stdin="a\nb\n")

    assert (first.returncode, second.returncode, third.returncode) == (1, 0, 0)
    assert asked(model) == ["b"]
    assert "nothing was asked" in third.stderr
    lines = (tmp_path / "out.jsonl").read_text()
    assert [record["text"] for record in records(lines)] == ["echo: a", "echo: b"]


def test_a_rehearsed_prompt_is_asked_and_an_answered_prompt_is_not_rehearsed(
    model: ScriptedModel, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    command = ["map", "-", "-o", str(out)]
    rehearsed = run(*command, "--rehearse", stdin="a\nb\n")
    names = {record["model"] for record in records(out.read_text())}

    asked_for = run(*command, *at(model), stdin="a\nb\n")
    after = out.read_text()
    again = run(*command, "--rehearse", stdin="a\nb\n")

    assert [done.returncode for done in (rehearsed, asked_for, again)] == [0, 0, 0]
    assert names == {"rehearsal"}
    assert asked(model) == ["a", "b"]
    assert [record["text"] for record in records(after)] == ["echo: a", "echo: b"]
    assert "nothing was asked" in again.stderr
    assert out.read_text() == after


def test_an_added_first_line_is_the_only_prompt_asked(model: ScriptedModel, tmp_path: Path) -> None:
    command = ["map", "-", "-o", str(tmp_path / "out.jsonl"), *at(model)]
    run(*command, stdin="a\nb\n")
    model.reset()

    run(*command, stdin="new\na\nb\n")

    assert asked(model) == ["new"]
