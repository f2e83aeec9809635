"""Makes results, prompts and runs for tests of the file of results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agy_actors.cli.ledger import Ledger
from agy_actors.cli.prompts import Entry, PromptLine
from agy_actors.cli.records import Failure, Result
from agy_actors.cli.result_file import ResultFile

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


FAILED = Failure("ModelError", "HTTP 503", retryable=True)


def prompt(number: int, text: str = "Question?") -> PromptLine:
    return PromptLine(number, f"line-{number + 1}", text)


def result(
    number: int,
    text: str | None = "Answer.",
    error: Failure | None = None,
    asked: str = "Question?",
) -> Result:
    return Result(prompt(number, asked), text, agent="a-1", seconds=1.23456, error=error)


def ledger(*prompts: PromptLine, rehearsal: bool = False) -> Ledger:
    """Take prompts with ids of their own, or without where the id is empty."""
    entries = [
        Entry(f"line {n}", one.id or None, one.prompt, one.extra)
        for n, one in enumerate(prompts, 1)
    ]
    return Ledger(lambda: iter(entries), "prompts", rehearsal=rehearsal)


class Run:
    """A run on a file of results: what is pending, and a way to write."""

    def __init__(self, out: Path | None, *prompts: PromptLine, rehearsal: bool = False) -> None:
        self.ledger = ledger(*(prompts or map(prompt, range(5))), rehearsal=rehearsal)
        self.file = ResultFile(out, self.ledger)
        self.pending = self.ledger.pending()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, one: Result) -> None:
        self.file.write(one)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def old(id_: str, asked: str, text: str | None = "Answer.", error: object = None) -> str:
    """Make a record as earlier versions wrote it."""
    index = int(id_.removeprefix("line-")) - 1 if id_.startswith("line-") else 0
    record = {
        "id": id_,
        "index": index,
        "prompt": asked,
        "text": text,
        "usage": None,
        "agent": "agent-1",
        "seconds": 1.0,
        "attempts": 1,
        "error": error and {"type": "ModelError", "message": "x", "retryable": True},
    }
    return json.dumps(record) + "\n"


def unnamed(*prompts: str) -> list[PromptLine]:
    return [PromptLine(number, "", one) for number, one in enumerate(prompts)]
