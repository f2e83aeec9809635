"""The prompts a run asks: read from the user's file, or the demonstration's own.

Everything that can be wrong with a file of prompts is found before anything starts, and
named with its file and line: a run over a thousand prompts must not fail at the last.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEMO_ANSWERS",
    "DEMO_CONVERSATIONS",
    "DEMO_PROMPTS",
    "DEMO_RECALLED",
    "PromptLine",
    "UsageProblem",
    "read_prompts",
]

_JSONL_SUFFIXES = {".jsonl", ".ndjson"}
_OWN_FIELDS = {"id", "prompt"}
_EXAMPLE = '{"prompt": "What is the capital of France?"}'


class UsageProblem(Exception):
    """Raised when the command was given something it cannot use; says what would do."""


@dataclass(frozen=True)
class PromptLine:
    """One prompt of a run."""

    index: int
    """Its place among the prompts, from 0."""

    id: str
    """The one given with it, or ``line-N`` for the N-th line of the file."""

    prompt: str
    """What is asked, verbatim."""

    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of its JSON object, carried along into the results."""


def read_prompts(source: str) -> list[PromptLine]:
    r"""Read the prompts of a run.

    A text file has one prompt in each line. A JSONL file (by its name, or because its
    first line is a JSON object) has in each line an object with a ``prompt`` and, if
    wanted, an ``id`` (a string or a whole number) and more; or just a string. Either is
    UTF-8, with or without a byte order mark, with lines ended by ``\n`` or ``\r\n``;
    blank lines are skipped.

    Args:
        source: the path of the file, or ``-`` for standard input.

    Raises:
        UsageProblem: the file cannot be read, has a malformed line or the same id
            twice, or no prompt at all.
    """
    name = "standard input" if source == "-" else source
    # Not splitlines(): it splits at characters that a JSON string may hold as they are.
    lines = _read_text(source, name).split("\n")
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise UsageProblem(f"{name} holds no prompt; write one in each line")
    as_json = Path(source).suffix.lower() in _JSONL_SUFFIXES or _is_object(numbered[0][1])
    prompts: list[PromptLine] = []
    seen: dict[str, int] = {}
    for index, (number, line) in enumerate(numbered):
        prompt = (
            _from_json(index, f"{name}, line {number}", number, line)
            if as_json
            else PromptLine(index, f"line-{number}", line)
        )
        if prompt.id in seen:
            raise UsageProblem(
                f"{name}, line {number}: the id {prompt.id!r} is that of line"
                f" {seen[prompt.id]} too; give each prompt an id of its own, or none"
            )
        seen[prompt.id] = number
        prompts.append(prompt)
    return prompts


def _read_text(source: str, name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageProblem(
            f"the prompts in {name} cannot be read: {why};"
            " give a text or JSONL file, or - for standard input"
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise UsageProblem(f"{name}, line {number}: not UTF-8; save the file as UTF-8") from error


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _from_json(index: int, where: str, number: int, line: str) -> PromptLine:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{where}: not JSON ({error}); write {_EXAMPLE}") from error
    fields = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise UsageProblem(f"{where}: neither an object nor a string; write {_EXAMPLE}")
    if "prompt" not in fields:
        raise UsageProblem(f'{where}: the object has no "prompt"; write {_EXAMPLE}')
    prompt = fields["prompt"]
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageProblem(f'{where}: "prompt" is not a text, or is empty; write {_EXAMPLE}')
    given = fields.get("id")
    if given is None:
        given = f"line-{number}"
    elif isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise UsageProblem(f'{where}: "id" is neither a text nor a whole number; give one, or none')
    try:
        f"{prompt}{given}".encode()
    except UnicodeEncodeError as error:
        raise UsageProblem(
            f"{where}: half of a surrogate pair is no character; write both halves"
        ) from error
    extra = {key: value for key, value in fields.items() if key not in _OWN_FIELDS}
    return PromptLine(index, str(given), prompt, extra)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Four conversations of six turns. The small model answers each of them correctly, the
# last ones from what the first ones said; the texts are its own answers. They were
# chosen by trying: what it answers correctly by itself may go wrong after other
# questions, so a change of order needs a new try. Without its conversation it answers the
# last questions too, and wrongly ("The cat's name is Luna."): so they tell whether an
# agent that was restarted remembers.
_DEMO = (
    (
        ("Mary has a dog called Rex.", "Mary has a dog named Rex."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("How many legs does a dog have?", "A dog has four legs."),
        ("What do bees make?", "Bees make honey."),
        ("What is the opposite of hot?", "The opposite of hot is cold."),
        ("What is the name of Mary's dog?", "Mary's dog is Rex."),
    ),
    (
        ("Ada lives in London.", "Ada is a famous Londoner."),
        ("What is the capital of Italy?", "The capital of Italy is Rome."),
        (
            "What language is spoken in Brazil?",
            "The language spoken in Brazil is Portuguese.",
        ),
        ("What is the opposite of up?", "The opposite of up is down."),
        ("What is the capital of Greece?", "The capital of Greece is Athens."),
        ("Where does Ada live?", "Ada lives in London."),
    ),
    (
        ("The cat's name is Milo.", "The cat's name is Milo."),
        ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
        ("What is the opposite of big?", "The opposite of big is small."),
        ("How many legs does a cat have?", "A cat has four legs."),
        ("How many legs does a bird have?", "A bird has two legs."),
        ("What is the cat's name?", "The cat's name is Milo."),
    ),
    (
        ("Peter's favourite colour is green.", "Peter loves green."),
        ("What is the capital of Egypt?", "The capital of Egypt is Cairo."),
        ("What is the opposite of left?", "The opposite of left is right."),
        ("What is the largest planet?", "The largest planet is Jupiter."),
        ("Who wrote Hamlet?", "Hamlet is written by William Shakespeare."),
        ("What is Peter's favourite colour?", "Peter loves green."),
    ),
)

DEMO_CONVERSATIONS: tuple[tuple[str, ...], ...] = tuple(
    tuple(prompt for prompt, _ in turns) for turns in _DEMO
)
"""Four conversations of six prompts; the last of each asks for what the first one said."""

DEMO_PROMPTS: tuple[str, ...] = tuple(prompt for turns in DEMO_CONVERSATIONS for prompt in turns)
"""The prompts of all the conversations, one conversation after the other."""

DEMO_ANSWERS: Mapping[str, str] = MappingProxyType(dict(turn for turns in _DEMO for turn in turns))
"""What the small model answers to each, in its conversation; the rehearsal's script."""

DEMO_RECALLED: Mapping[str, str] = MappingProxyType(
    {
        "What is the name of Mary's dog?": "Rex",
        "Where does Ada live?": "London",
        "What is the cat's name?": "Milo",
        "What is Peter's favourite colour?": "green",
    }
)
"""The questions about an earlier turn, with the word that shows it is remembered."""
