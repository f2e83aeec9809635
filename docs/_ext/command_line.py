"""The directive ``command-line``: the commands of ``agy-actors``, documented from their code."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer.main
from sphinx.util.docutils import SphinxDirective

from agy_actors.cli.app import app as program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx

_LITERAL = re.compile(r"(?<![\w-])--?[a-z][\w-]*|\b[A-Z]+(?:_[A-Z]+)+\b|(?<!\S)\.env\b|\{.*?\}")


class CommandLine(SphinxDirective):
    """Write a section for each command: its usage, its description and its options."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        group: Any = typer.main.get_command(program)
        functions = {
            command.name or command.callback.__name__: command.callback
            for command in program.registered_commands
            if command.callback is not None
        }
        lines = [
            line
            for name, command in group.commands.items()
            for line in _describe(name, command, get_type_hints(functions[name]))
        ]
        text = "\n".join(lines)
        sections: list[nodes.Node] = self.parse_text_to_nodes(text, allow_section_headings=True)
        return sections


def _describe(name: str, command: Any, types: dict[str, Any]) -> Iterator[str]:
    title = f"agy-actors {name}"
    yield from (title, "-" * len(title), "")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([title, "[OPTIONS]", *(a.metavar or a.name.upper() for a in arguments)])
    yield from (".. code-block:: text", "", f"   {usage}", "")
    yield from _marked(command.help or "").splitlines()
    yield ""
    for argument in arguments:
        yield from (
            f"``{argument.metavar or argument.name.upper()}``",
            f"   {_marked(argument.help)}",
            "",
        )
    for option in options:
        flags = [*option.opts, *option.secondary_opts]
        value = "" if option.is_flag else f" {option.metavar or _values(types[option.name])}"
        yield ", ".join(f"``{flag}{value}``" for flag in flags)
        yield f"   {_marked(option.help or '')}{_default(option)}"
        yield ""


def _marked(text: str) -> str:
    """Mark the options, variables and file names in a text as literals."""
    return _LITERAL.sub(r"``\g<0>``", text)


def _values(annotation: Any) -> str:
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    [kind] = kinds
    if issubclass(kind, Enum):
        return "|".join(member.value for member in kind)
    return {int: "NUMBER", float: "SECONDS"}.get(kind, "TEXT")


def _default(option: Any) -> str:
    if option.default is None or option.default is False or "Default:" in (option.help or ""):
        return ""
    value = option.default
    if option.is_flag:
        value = option.opts[0] if value else option.secondary_opts[0]
    return f" Default: ``{value}``."


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
