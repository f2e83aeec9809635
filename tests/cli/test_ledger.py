"""The prompts that count as answered, and their ids."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from agy_actors.cli.ledger import Ledger
from agy_actors.cli.prompts import Entry, PromptLine
from agy_actors.cli.records import REHEARSAL, Failure, Result, text_id
from agy_actors.cli.usage_problem import UsageProblem
from tests.cli.result_files import Run, ledger, old, prompt, read, result, unnamed

if TYPE_CHECKING:
    from pathlib import Path


class TestRehearsals:
    def rehearsed(self, number: int, error: Failure | None = None) -> Result:
        return dataclasses.replace(result(number, "(scripted)", error), model=REHEARSAL)

    def test_a_rehearsed_prompt_is_asked_with_a_model(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        with Run(out, prompt(0), rehearsal=True) as run:
            run.write(self.rehearsed(0))

        with Run(out, prompt(0)) as run:
            assert run.pending
            run.write(result(0))

        assert [record["text"] for record in read(out)] == ["Answer."]

    def test_a_rehearsal_resumes_a_rehearsal(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        with Run(out, prompt(0), prompt(1), rehearsal=True) as run:
            run.write(self.rehearsed(0))

        with Run(out, prompt(0), prompt(1), rehearsal=True) as run:
            assert [line.index for line in run.pending] == [1]

    def test_a_rehearsal_replaces_no_answer(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        with Run(out) as run:
            run.write(result(0))
        changed = prompt(0, "Another question?")
        for _ in range(2):
            with Run(out, changed, rehearsal=True) as run:
                run.write(dataclasses.replace(self.rehearsed(0), prompt=changed))

        assert read(out)[0]["text"] == "Answer."

    def test_rehearsals_of_earlier_versions_are_recognised_by_their_text(
        self, tmp_path: Path
    ) -> None:
        out = tmp_path / "out.jsonl"
        record = old("line-1", "a", "(rehearsal) No model was asked: a")
        out.write_text(record)

        with Run(out, PromptLine(0, "", "a")) as run:
            assert run.pending


class TestResultsOfEarlierVersions:
    @pytest.mark.parametrize(
        ("lines", "prompts", "pending"),
        [
            ([("1", "a"), ("2", "b")], "ab", ""),
            ([("1", "a"), ("2", "b")], "xab", "x"),
            ([("1", "a"), ("2", "b")], "bac", "c"),
            ([("1", "a")], "aa", "a"),
            ([("1", "a"), ("5", "a")], "aab", "b"),
            ([("1", "a"), ("1", "x"), ("2", "a")], "xa", ""),
            ([("1", "a"), ("1", "b")], "ab", ""),
        ],
    )
    def test_they_are_matched_by_their_text(
        self, tmp_path: Path, lines: list[tuple[str, str]], prompts: str, pending: str
    ) -> None:
        out = tmp_path / "out.jsonl"
        before = "".join(old(f"line-{number}", asked) for number, asked in lines)
        out.write_text(before)

        with Run(out, *unnamed(*prompts)) as run:
            assert "".join(line.prompt for line in run.pending) == pending

        assert out.read_text() == before  # All of them count.

    def test_an_answer_replaces_a_failure(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        out.write_text(old("line-1", "a", None, error=True) + old("line-2", "b"))

        with Run(out, *unnamed("x", "a", "b")) as run:
            assert [line.prompt for line in run.pending] == ["x", "a"]
            for line in run.pending:
                run.write(Result(line, "Answer.", "a-1", 0.0))

        assert [(one["id"], one["prompt"]) for one in read(out)] == [
            ("line-2", "b"),
            (text_id("x"), "x"),
            (text_id("a"), "a"),
        ]

    def test_own_ids_in_the_old_form_are_matched(self, tmp_path: Path) -> None:
        out = tmp_path / "out.jsonl"
        out.write_text(old("line-7", "a") + old("mine", "b") + old("line-8", "c", error=True))
        prompts = [PromptLine(0, "line-7", "a"), PromptLine(1, "mine", "b")]

        with Run(out, *prompts, PromptLine(2, "line-8", "c")) as run:
            assert [line.id for line in run.pending] == ["line-8"]
            run.write(Result(run.pending[0], "Answer.", "a-1", 0.0))

        assert [one["id"] for one in read(out)] == ["line-7", "mine", "line-8"]


class TestIdsOfPromptsWithout:
    def test_an_added_first_line_changes_no_other_id(self) -> None:
        before = ledger(*unnamed("a", "b", "a")).pending()
        after = ledger(*unnamed("x", "a", "b", "a")).pending()

        assert [line.id for line in after][1:] == [line.id for line in before]
        assert len({line.id for line in after}) == 4

    def test_they_are_the_same_in_every_process(self) -> None:
        assert [line.id for line in ledger(*unnamed("a", "a")).pending()] == [
            "40f89e395b66422f",
            "40f89e395b66422f-2",
        ]

    @pytest.mark.parametrize("taken", ["40f89e395b66422f", "40f89e395b66422f-2"])
    def test_an_own_id_that_equals_a_made_one_is_refused(self, taken: str) -> None:
        with pytest.raises(UsageProblem, match=f"line 3: the id '{taken}' is also the id of line"):
            ledger(*unnamed("a", "a"), PromptLine(2, taken, "b")).pending()

    def test_a_repeated_own_id_is_refused(self) -> None:
        with pytest.raises(UsageProblem, match="line 2: the id 'x' is also the id of line 1"):
            ledger(PromptLine(0, "x", "a"), PromptLine(1, "x", "b"))


def test_a_file_of_prompts_that_changes_during_the_run_is_refused() -> None:
    reads = iter([[Entry("line 1", None, "a")], [Entry("line 1", None, "b")]])

    with pytest.raises(UsageProblem, match="was changed while it was read"):
        Ledger(lambda: iter(next(reads)), "prompts").pending()
