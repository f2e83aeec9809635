"""Reads prompts from JSON and JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from agy_actors.cli.prompts import ID, PROMPT, Entry, Reading
from agy_actors.cli.text_lines import read_lines
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["parses_to", "read_json", "read_json_lines"]

_EXAMPLE = '{"prompt": "What is the capital of France?"}'


def parses_to(line: str, *kinds: type) -> bool:
    """Whether a text is JSON of one of these types."""
    try:
        return isinstance(json.loads(line), kinds)
    except (ValueError, RecursionError):
        return False


def read_json_lines(file: BinaryIO, name: str, reading: Reading) -> Generator[Entry, None, None]:
    """Read the prompts of a file with a JSON value on each line.

    Raises:
        UsageProblem: a line is malformed.
    """
    for number, line in read_lines(file, name):
        place = f"line {number}"
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UsageProblem(f"{name}, {place}: not JSON ({error}); write {_EXAMPLE}") from error
        yield _entry(value, name, place, reading)


def read_json(file: BinaryIO, name: str, reading: Reading) -> Generator[Entry, None, None]:
    """Read the prompts of a JSON list, or of JSON lines in a file that is called .json.

    Raises:
        UsageProblem: the file or an item is malformed.
    """
    data = file.read()
    try:
        values = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        file.seek(0)
        first = next((line for _, line in read_lines(file, name)), "")
        if parses_to(first, dict, str):
            file.seek(0)
            yield from read_json_lines(file, name, reading)  # JSON lines are often called .json.
            return
        raise UsageProblem(f"{name}: not JSON ({error}); write [{_EXAMPLE}]") from error
    if not isinstance(values, list):
        raise UsageProblem(f"{name}: not a list of prompts; write [{_EXAMPLE}]")
    for number, value in enumerate(values, 1):
        yield _entry(value, name, f"item {number}", reading)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _entry(value: Any, name: str, place: str, reading: Reading) -> Entry:
    """Make an entry from a JSON value."""
    where, field = f"{name}, {place}", reading.column or PROMPT
    fields = {field: value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise UsageProblem(f"{where}: neither an object nor a string; write {_EXAMPLE}")
    prompt = (
        reading.template.fill(fields, where) if reading.template else _prompt(fields, field, where)
    )
    if not prompt.strip():
        raise UsageProblem(f"{where}: the prompt is empty; write one, or remove it")
    taken = set() if reading.template else {field}
    id_ = _id(fields, where) if ID not in taken else None
    try:
        f"{prompt}{id_}".encode()
    except UnicodeEncodeError as error:
        raise UsageProblem(
            f"{where}: a lone surrogate is not a character; write both halves of the pair"
        ) from error
    extra = {key: other for key, other in fields.items() if key not in taken | {ID}}
    return Entry(place, id_, prompt, extra)


def _prompt(fields: dict[str, Any], field: str, where: str) -> str:
    if field not in fields:
        known = ", ".join(json.dumps(key, ensure_ascii=False) for key in fields)
        has = f"; it has {known}; name the field with the prompt with --column" if known else ""
        raise UsageProblem(
            f"{where}: the object has no {json.dumps(field, ensure_ascii=False)}{has},"
            f" or write {_EXAMPLE}"
        )
    prompt = fields[field]
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageProblem(f'{where}: "{field}" is not a string or is empty; write {_EXAMPLE}')
    return prompt


def _id(fields: dict[str, Any], where: str) -> str | None:
    given = fields.get(ID)
    if given is not None and (
        isinstance(given, bool) or not isinstance(given, str | int) or given == ""
    ):
        raise UsageProblem(f'{where}: "id" must be a string or an integer, or be left out')
    return None if given is None else str(given)
