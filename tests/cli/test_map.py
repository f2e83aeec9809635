from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agy_actors.testing import ScriptedModel, Usage, http_error, quota_error, say, silence
from tests.cli.command_line import CTRL_C, PATIENCE, Terminal, at, run, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


def records(lines: str) -> list[dict[str, Any]]:
    """Read results, in the order of their prompts."""
    return sorted(map(json.loads, lines.splitlines()), key=lambda record: record["index"])


def asked(model: ScriptedModel) -> list[str]:
    return sorted(request.prompt for request in model.requests)


class TestTheResults:
    def test_every_line_of_standard_input_has_one_on_standard_output(
        self, model: ScriptedModel
    ) -> None:
        done = run("map", "-", "-n", "2", *at(model), stdin="a\nb\nc\n")

        assert [(r["id"], r["text"], r["error"]) for r in records(done.stdout)] == [
            ("line-1", "echo: a", None),
            ("line-2", "echo: b", None),
            ("line-3", "echo: c", None),
        ]
        assert done.stderr.startswith("scripted on 127.0.0.1:")
        assert "3 of 3 prompts answered, 0 failed" in done.stderr
        assert done.returncode == 0

    def test_they_hold_what_was_used(self, model: ScriptedModel) -> None:
        model.then(say("yes", usage=Usage(prompt=7, completion=3)))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["usage"]["prompt_token_count"] == 7
        assert record["usage"]["candidates_token_count"] == 3
        assert record["agent"] == "agent-1"
        assert record["attempts"] == 1
        assert record["seconds"] > 0

    def test_no_prompt_is_asked_with_the_others(self, model: ScriptedModel) -> None:
        run("map", "-", "-n", "1", *at(model), stdin="a\nb\nc\n")

        assert [request.messages for request in model.requests] == [
            (("user", "a"),),
            (("user", "b"),),
            (("user", "c"),),
        ]

    def test_they_come_as_they_are_made(self, model: ScriptedModel) -> None:
        gate = threading.Event()
        model.when("slow", say("at last", gate=gate, gate_after=0))

        with start("map", "-", "-n", "2", *at(model)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("slow\nquick\n")
            process.stdin.close()
            first = process.stdout.readline()
            gate.set()
            second = process.stdout.readline()

        assert json.loads(first)["text"] == "echo: quick"
        assert json.loads(second)["text"] == "at last"

    def test_as_many_are_asked_at_once_as_there_are_agents(self, model: ScriptedModel) -> None:
        gate = threading.Event()
        model.when("", say("done", gate=gate, gate_after=0))

        with start("map", "-", "-n", "3", *at(model)) as process:
            assert process.stdin is not None
            process.stdin.write("a\nb\nc\nd\ne\n")
            process.stdin.close()
            held = len(model.wait_for_requests(3, timeout=PATIENCE))
            gate.set()
            assert process.stdout is not None
            done = records(process.stdout.read())

        assert held == 3
        assert len(done) == 5
        assert {record["agent"] for record in done} == {"agent-1", "agent-2", "agent-3"}

    def test_a_rehearsal_needs_no_model(self) -> None:
        done = run("map", "-", "--rehearse", stdin="a\n")

        assert done.stderr.startswith("REHEARSAL")
        assert records(done.stdout)[0]["text"] == "(rehearsal) No model was asked: a"


class TestAPromptThatFails:
    def test_its_error_is_its_result_and_the_rest_are_answered(self, model: ScriptedModel) -> None:
        model.when("bad", http_error(400, "cannot say"))

        done = run("map", "-", "-n", "2", *at(model), stdin="a\nbad\nc\n")

        a, bad, c = records(done.stdout)
        assert a["text"] == "echo: a"
        assert c["text"] == "echo: c"
        assert bad["error"]["type"] == "ModelError"
        assert "cannot say" in bad["error"]["message"]
        assert not bad["error"]["retryable"]
        assert bad["attempts"] == 1
        assert "line-2: ModelError: " in done.stderr
        assert "2 of 3 prompts answered, 1 failed" in done.stderr
        assert done.returncode == 1

    def test_it_is_asked_again_when_the_service_said(self, model: ScriptedModel) -> None:
        model.then(quota_error(retry_after=1))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["text"] == "echo: a"
        assert record["attempts"] == 2
        assert done.returncode == 0
        first, second = model.requests
        assert second.received_at - first.received_at >= 1
        assert second.messages == (("user", "a"),)

    def test_it_is_not_asked_again_when_that_would_take_too_long(
        self, model: ScriptedModel
    ) -> None:
        model.when("", quota_error(retry_after=3600))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["error"]["type"] == "QuotaExceeded"
        assert record["attempts"] == 1

    @pytest.mark.parametrize("retries", [0, 1])
    def test_it_is_asked_again_as_often_as_was_said(
        self, model: ScriptedModel, retries: int
    ) -> None:
        model.when("", http_error(503))

        done = run("map", "-", *at(model), f"--retries={retries}", stdin="a\n")

        (record,) = records(done.stdout)
        assert record["attempts"] == len(model.requests) == retries + 1
        assert record["error"]["retryable"]

    def test_its_time_is_bounded(self, model: ScriptedModel) -> None:
        model.when("slow", silence("so far"))

        done = run("map", "-", *at(model), "--timeout=1.5", stdin="slow\nb\n")

        slow, b = records(done.stdout)
        assert slow["error"]["type"] == "TurnTimeout"
        assert slow["text"] == "so far"
        assert slow["attempts"] == 1
        assert b["text"] == "echo: b"


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
    def test_the_same_command_asks_only_the_rest(
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
        assert "10 of 30 prompts are answered already" in done.stderr
        assert done.returncode == 0

    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
    def test_an_interruption_says_so_and_leaves_nothing(
        self, interrupted: subprocess.Popen[str], results: Path, end: signal.Signals
    ) -> None:
        children = psutil.Process(interrupted.pid).children(recursive=True)
        assert children

        interrupted.send_signal(end)
        _, err = interrupted.communicate(timeout=PATIENCE)

        assert "interrupted; the same command asks the rest: 10 of 30" in err
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


def test_it_ends_quietly_when_nobody_reads_on(model: ScriptedModel) -> None:
    gate = threading.Event()
    model.when("later", say("unread", gate=gate, gate_after=0))

    with start("map", "-", "-n", "2", *at(model)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("first\n" + "later\n" * 20)
        process.stdin.close()
        process.stdout.readline()
        process.stdout.close()
        gate.set()
        err = process.stderr.read()

    assert process.returncode == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_results_that_cannot_be_written_end_it(model: ScriptedModel) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110 (a device)
        pytest.skip("this system has no device that is always full")

    done = run("map", "-", "-o", "/dev/full", *at(model), stdin="a\nb\n")

    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


class TestTheProgressBar:
    def test_it_is_shown_on_a_terminal(self, model: ScriptedModel, tmp_path: Path) -> None:
        (tmp_path / "prompts").write_text("a\nb\nc\n")
        out = tmp_path / "out.jsonl"
        command = ["map", str(tmp_path / "prompts"), f"-o{out}", *at(model)]

        with Terminal(*command) as terminal:
            terminal.shows("answered")
            terminal.shows("3/3")
            terminal.shows("3 of 3 prompts answered")
            assert terminal.ends() == 0

        assert len(records(out.read_text())) == 3

    def test_it_keeps_out_of_the_way_of_results_on_the_terminal(
        self, model: ScriptedModel, tmp_path: Path
    ) -> None:
        (tmp_path / "prompts").write_text("a\n")

        with Terminal("map", str(tmp_path / "prompts"), *at(model)) as terminal:
            terminal.shows('"text": "echo: a"')
            assert terminal.ends() == 0

        assert "1/1" not in terminal.output

    def test_ctrl_c_ends_it(self, model: ScriptedModel, tmp_path: Path) -> None:
        (tmp_path / "prompts").write_text("a\n" * 9)
        model.when("", silence())
        command = ["map", str(tmp_path / "prompts"), f"-o{tmp_path / 'out'}", *at(model)]

        with Terminal(*command) as terminal:
            model.wait_for_requests(4, timeout=PATIENCE)
            terminal.types(CTRL_C)
            terminal.shows("interrupted")
            assert terminal.ends() == 130

        assert "Traceback" not in terminal.output
