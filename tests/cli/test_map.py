from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.testing import ScriptedModel, Usage, http_error, quota_error, say, silence
from tests.cli.command_line import CTRL_C, PATIENCE, Terminal, at, run, start

if TYPE_CHECKING:
    from pathlib import Path
from tests.cli.map_results import asked, records


class TestTheResults:
    def test_each_line_of_standard_input_has_a_result_on_standard_output(
        self, model: ScriptedModel
    ) -> None:
        done = run("map", "-", "-n", "2", *at(model), stdin="a\nb\nc\n")

        assert [(r["prompt"], r["text"], r["error"]) for r in records(done.stdout)] == [
            ("a", "echo: a", None),
            ("b", "echo: b", None),
            ("c", "echo: c", None),
        ]
        assert done.stderr.startswith("scripted on 127.0.0.1:")
        assert "3 of 3 prompts answered, 0 failed" in done.stderr
        assert done.returncode == 0

    def test_a_result_contains_usage_model_and_attempts(self, model: ScriptedModel) -> None:
        model.then(say("yes", usage=Usage(prompt=7, completion=3)))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["usage"]["prompt_token_count"] == 7
        assert record["usage"]["candidates_token_count"] == 3
        assert record["model"] == "scripted"
        assert record["agent"] == "agent-1"
        assert record["attempts"] == 1
        assert record["seconds"] > 0

    def test_each_prompt_is_asked_in_a_new_conversation(self, model: ScriptedModel) -> None:
        run("map", "-", "-n", "1", *at(model), stdin="a\nb\nc\n")

        assert [request.messages for request in model.requests] == [
            (("user", "a"),),
            (("user", "b"),),
            (("user", "c"),),
        ]

    def test_a_result_is_written_as_soon_as_it_is_known(self, model: ScriptedModel) -> None:
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

    def test_as_many_prompts_as_agents_are_asked_at_once(self, model: ScriptedModel) -> None:
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
    def test_its_error_is_in_its_result_and_the_others_are_answered(
        self, model: ScriptedModel
    ) -> None:
        model.when("bad", http_error(400, "cannot say"))

        done = run("map", "-", "-n", "2", *at(model), stdin="a\nbad\nc\n")

        a, bad, c = records(done.stdout)
        assert a["text"] == "echo: a"
        assert c["text"] == "echo: c"
        assert bad["error"]["type"] == "ModelError"
        assert "cannot say" in bad["error"]["message"]
        assert not bad["error"]["retryable"]
        assert bad["attempts"] == 1
        assert f"{bad['id']}: ModelError: " in done.stderr
        assert "2 of 3 prompts answered, 1 failed" in done.stderr
        assert done.returncode == 1

    def test_it_is_asked_again_after_the_delay_that_the_service_gave(
        self, model: ScriptedModel
    ) -> None:
        model.then(quota_error(retry_after=1))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["text"] == "echo: a"
        assert record["attempts"] == 2
        assert done.returncode == 0
        first, second = model.requests
        assert second.received_at - first.received_at >= 1
        assert second.messages == (("user", "a"),)

    def test_it_is_not_asked_again_after_a_very_long_delay(self, model: ScriptedModel) -> None:
        model.when("", quota_error(retry_after=3600))

        done = run("map", "-", *at(model), stdin="a\n")

        (record,) = records(done.stdout)
        assert record["error"]["type"] == "QuotaExceeded"
        assert record["attempts"] == 1

    @pytest.mark.parametrize("retries", [0, 1])
    def test_retries_limits_how_often_it_is_asked_again(
        self, model: ScriptedModel, retries: int
    ) -> None:
        model.when("", http_error(503))

        done = run("map", "-", *at(model), f"--retries={retries}", stdin="a\n")

        (record,) = records(done.stdout)
        assert record["attempts"] == len(model.requests) == retries + 1
        assert record["error"]["retryable"]

    def test_timeout_limits_its_time(self, model: ScriptedModel) -> None:
        model.when("slow", silence("so far"))

        done = run("map", "-", *at(model), "--timeout=1.5", stdin="slow\nb\n")

        slow, b = records(done.stdout)
        assert slow["error"]["type"] == "TurnTimeout"
        assert slow["text"] == "so far"
        assert slow["attempts"] == 1
        assert b["text"] == "echo: b"


class TestWhenEverythingFails:
    def test_it_stops_after_twenty_failures_in_a_row_and_says_why(
        self, model: ScriptedModel, tmp_path: Path
    ) -> None:
        model.when("", http_error(401, "no such key"))
        out = tmp_path / "out.jsonl"
        prompts = "".join(f"prompt {n}\n" for n in range(150))

        done = run("map", "-", "-n", "2", "-o", str(out), *at(model), stdin=prompts)

        assert "stopped, because 20 prompts in a row failed (--max-failures 20)" in done.stderr
        assert "the last error was ModelError: " in done.stderr
        assert "no such key" in done.stderr.split("stopped, because")[1]
        assert "run it again to ask the remaining prompts" in done.stderr
        assert "0 of 150 prompts answered, 20 failed" in done.stderr
        # The other thread may have been writing a failure at that moment.
        assert 20 <= len(records(out.read_text())) <= 21
        assert len(model.requests) <= 22
        assert done.returncode == 1

    def test_only_failures_in_a_row_count(self, model: ScriptedModel) -> None:
        model.when("bad", http_error(400))
        command = ["map", "-", "-n", "1", "--max-failures=2", *at(model)]

        done = run(*command, stdin="bad 1\ngood 1\nbad 2\ngood 2\nbad 3\nbad 4\ngood 3\n")

        assert [record["prompt"] for record in records(done.stdout)] == [
            "bad 1", "good 1", "bad 2", "good 2", "bad 3", "bad 4",
        ]  # fmt: skip
        assert "because 2 prompts in a row failed" in done.stderr

    def test_it_does_not_stop_without_a_limit(self, model: ScriptedModel) -> None:
        model.when("", http_error(400))

        done = run("map", "-", "--max-failures=0", *at(model), stdin="a\n" * 25)

        assert len(records(done.stdout)) == 25
        assert "stopped" not in done.stderr

    def test_a_failure_is_printed_while_other_prompts_are_asked(self, model: ScriptedModel) -> None:
        gate = threading.Event()
        model.when("bad", http_error(400, "cannot say"))
        model.when("slow", say("at last", gate=gate, gate_after=0))

        with start("map", "-", "-n", "2", *at(model)) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write("slow\nbad\n")
            process.stdin.close()
            label, failure = process.stderr.readline(), process.stderr.readline()
            gate.set()
            rest = process.stderr.read()

        assert label.startswith("scripted on ")
        assert "ModelError: " in failure
        assert "cannot say" in failure
        assert "1 of 2 prompts answered, 1 failed" in rest

    def test_a_temporary_error_is_printed_before_the_next_attempt(
        self, model: ScriptedModel
    ) -> None:
        model.then(quota_error(retry_after=1))

        done = run("map", "-", *at(model), stdin="a\n")

        assert "QuotaExceeded: " in done.stderr
        assert "asking again in 1.0 s" in done.stderr
        assert "1 of 1 prompts answered, 0 failed" in done.stderr


class TestAFileOfTheUsersIsLeftAsItIs:
    def refused(self, folder: Path, *arguments: str, stdin: str = "a\n", **options: Any) -> str:
        before = {path: path.read_bytes() for path in folder.iterdir()}

        done = run("map", *arguments, "--rehearse", stdin=stdin, cwd=folder, **options)

        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "remove" not in done.stderr
        assert "delete" not in done.stderr
        return done.stderr

    def test_if_it_is_the_file_of_prompts(self, tmp_path: Path) -> None:
        (tmp_path / "precious.jsonl").write_text('{"id": "1", "prompt": "a"}')

        for out in ("precious.jsonl", "./precious.jsonl"):
            error = self.refused(tmp_path, "precious.jsonl", "-o", out)
            assert "is the file that the prompts are read from" in error

    def test_if_standard_input_is_read_from_it(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("a\n")

        command = f'"{sys.executable}" -m agy_actors.cli map - --rehearse'
        for redirection in ("-o precious < precious", "< precious >> precious"):
            done = subprocess.run(
                ["sh", "-c", f"{command} {redirection}"],
                cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert "is the file that the prompts are read from" in done.stderr
            assert done.returncode == 2
            assert (tmp_path / "precious").read_text() == "a\n"

    @pytest.mark.parametrize("content", ["notes", '{"id": "1"}', '{"id": "1", "note": "half of'])
    def test_if_it_contains_something_else(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "precious").write_text(content)

        error = self.refused(tmp_path, "-", "-o", "precious")

        assert "not a result of an earlier run; name another file" in error

    def test_if_the_prompts_are_invalid(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "-", "-o", "out", stdin="id,prompt\n1,a\n")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("prompts.csv", 'id,prompt\nx,"a,\nb"\n', []),
        ("prompts.tsv", 'n\tquestion\n1\t"a,\nb"\n', ["--column", "question"]),
        ("prompts.csv", '"a,\nb"\n', ["--no-header"]),
        ("prompts", 'prompt\n"a,\nb"\n', ["--format", "csv"]),
        ("prompts.jsonl", '{"question": "a,\\nb"}\n', ["--column=question"]),
    ],
)
def test_prompts_are_read_from_a_column(
    model: ScriptedModel, tmp_path: Path, name: str, content: str, options: list[str]
) -> None:
    (tmp_path / name).write_text(content)

    done = run("map", str(tmp_path / name), *options, *at(model))

    assert asked(model) == ["a,\nb"]
    assert done.returncode == 0


def test_a_closed_reader_ends_it_without_an_error_message(model: ScriptedModel) -> None:
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


def test_a_failed_write_ends_it(model: ScriptedModel) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110 (a device)
        pytest.skip("this system has no device that is always full")

    done = run("map", "-", "-o", "/dev/full", *at(model), stdin="a\nb\n")

    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


class TestTheProgressBar:
    def test_a_terminal_shows_it(self, model: ScriptedModel, tmp_path: Path) -> None:
        (tmp_path / "prompts").write_text("a\nb\nc\n")
        out = tmp_path / "out.jsonl"
        command = ["map", str(tmp_path / "prompts"), f"-o{out}", *at(model)]

        with Terminal(*command) as terminal:
            terminal.shows("answered")
            terminal.shows("3/3")
            terminal.shows("3 of 3 prompts answered")
            assert terminal.ends() == 0

        assert len(records(out.read_text())) == 3

    def test_it_is_not_shown_if_results_are_printed_on_the_terminal(
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
