"""Reads code blocks of reStructuredText."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DOCS", "ROOT", "Block", "code_blocks", "commands", "documents"]

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_DIRECTIVE = re.compile(r"^( *)\.\. code-block:: *(\w+) *$")
_OPTION = re.compile(r"^ *:(\w+): (.*)$")
_LITERAL = re.compile(r"^( *)(?!\.\. )\S.*::$|^( *)::$")


@dataclass(frozen=True)
class Block:
    """A code block."""

    document: Path
    line: int
    """The line where the code begins, from 1."""

    language: str
    """Empty for a literal block."""

    code: str
    options: dict[str, str] = field(default_factory=dict)


def documents() -> list[Path]:
    """Return the files of the documentation that have text of their own."""
    pages = [page for page in DOCS.rglob("*.rst") if "_build" not in page.parts]
    own = sorted(page for page in pages if page.parent.name != "benchmarks")
    return [ROOT / "README.rst", *own]


def code_blocks(document: Path) -> Iterator[Block]:
    """Yield the code blocks of a document in order."""
    lines = document.read_text().splitlines()
    for number, line in enumerate(lines):
        directive, literal = _DIRECTIVE.match(line), _LITERAL.match(line)
        if directive is None and literal is None:
            continue
        indent = len(line) - len(line.lstrip())
        options = {}
        start = number + 1
        while directive and start < len(lines) and (option := _OPTION.match(lines[start])):
            options[option[1]] = option[2]
            start += 1
        end = start
        while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
            end += 1
        code = textwrap.dedent("\n".join(lines[start:end])).strip("\n")
        first = next((n for n in range(start, end) if lines[n].strip()), start)
        yield Block(document, first + 1, directive[2] if directive else "", code, options)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block of language `console`, each with its output."""
    command = ""
    output: list[str] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(output)
            command, output = line[2:].partition("  #")[0].rstrip(), []
        else:
            output.append(line)
    if command:
        yield command, "\n".join(output)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
