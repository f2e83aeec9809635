"""A prompt in a file, a prompt of a run, and how the user asked to read the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agy_actors.cli.prompt_template import PromptTemplate

__all__ = [
    "ID",
    "PROMPT",
    "Entry",
    "Format",
    "PromptLine",
    "Reading",
]


PROMPT, ID = "prompt", "id"
"""The default names of the columns with the prompts and their ids."""


class Format(StrEnum):
    """The format of a file of prompts."""

    TEXT = "text"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Reading:
    """The user's options for reading a file of prompts."""

    format: Format | None = None
    """The format; `None` to guess it."""

    column: str | None = None
    """The column or field with the prompts: a name, or a number from 1; by default ``prompt``."""

    header: bool = True
    """Whether the first row of a CSV or TSV file names its columns."""

    template: PromptTemplate | None = None
    """Makes the prompts from columns; `None` if one column has the prompts."""

    @property
    def wanted(self) -> frozenset[str]:
        """The names of the columns that the prompts need."""
        return self.template.columns if self.template else frozenset({self.column or PROMPT})


class Entry(NamedTuple):
    """One prompt in a file."""

    place: str
    """The place in the file, such as ``line 3``."""

    id: str | None
    """The prompt's own id, if it has one."""

    prompt: str
    """The text of the prompt, unchanged."""

    extra: Mapping[str, Any] = MappingProxyType({})
    """Further fields of its JSON object or row; they are copied into the result."""


@dataclass(frozen=True)
class PromptLine:
    """One prompt of a run."""

    index: int
    """The position among the prompts, from 0."""

    id: str
    """The prompt's own id, or one made from its text."""

    prompt: str
    """The text of the prompt, unchanged."""

    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields; they are copied into the result."""
