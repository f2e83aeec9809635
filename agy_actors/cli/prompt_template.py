"""`PromptTemplate`: makes a prompt from the columns of a record."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["PromptTemplate"]

_BRACES = "write {{ and }} for braces"


@dataclass(frozen=True)
class PromptTemplate:
    """A text with names of columns in braces, such as ``Translate into {language}: {text}``.

    It has the syntax of `str.format`, but only names: no indexes, attributes, conversions or
    formats.
    """

    parts: tuple[tuple[str, str | None], ...]
    """The texts, each with the column after it; `None` if no column follows."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a template.

        Raises:
            UsageProblem: it is malformed, or contains no column.
        """
        try:
            parts = [*string.Formatter().parse(text)]
        except ValueError as error:
            raise UsageProblem(f"--template: {error}; {_BRACES}") from None
        for _, name, form, conversion in parts:
            if name is None:
                continue
            if not name.strip():
                raise UsageProblem(f"--template: braces without a column; {_BRACES}")
            if form or conversion or any(character in name for character in ".[]{}"):
                raise UsageProblem(
                    f"--template: {{{name}}} must be only the name of a column, without an index,"
                    f" an attribute, a conversion or a format; {_BRACES}"
                )
        if not any(name for _, name, _, _ in parts):
            raise UsageProblem(
                "--template contains no column, so all prompts would be equal; write the name of a"
                " column in braces, as in 'Translate: {text}'"
            )
        return cls(tuple((literal, name) for literal, name, _, _ in parts))

    @property
    def columns(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(name for _, name in self.parts if name is not None)

    def fill(self, values: Mapping[str, Any], where: str) -> str:
        """Return the prompt of a record.

        Args:
            values: the record's values by the names of their columns. A value that is not a text
                is written as JSON.
            where: the place of the record, for errors.

        Raises:
            UsageProblem: the record has no value for a column.
        """
        pieces: list[str] = []
        for literal, name in self.parts:
            pieces.append(literal)
            if name is None:
                continue
            if values.get(name) is None:
                has = ", ".join(repr(other) for other in values)
                what = f"the column {name!r} is empty" if name in values else f"no column {name!r}"
                raise UsageProblem(
                    f"{where}: {what}, which --template needs; the columns are {has or '(none)'}"
                )
            value = values[name]
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            pieces.append(text)
        return "".join(pieces)
