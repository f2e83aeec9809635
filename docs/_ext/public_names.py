"""Shows public names of agy_actors by their public paths, and links them.

Classes live in private modules. A reference to ``agy_actors._agents.agent_ref.AgentRef``, to
``AgentRef`` or to ``AgentRef.ask`` leads to ``agy_actors.AgentRef``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sphinx.ext.intersphinx import missing_reference as look_elsewhere
from sphinx.pycode import ModuleAnalyzer

import agy_actors
import agy_actors.telemetry
import agy_actors.testing
from agy_actors._actors.not_constructible import MadeForUsers

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_PUBLIC = {
    **{name: f"agy_actors.telemetry.{name}" for name in agy_actors.telemetry.__all__},
    **{name: f"agy_actors.testing.{name}" for name in agy_actors.testing.__all__},
    **{name: f"agy_actors.{name}" for name in agy_actors.__all__},
}
_PRIVATE = re.compile(r"^(?:agy_actors\.)?(?:[a-z_]\w*\.)*(?=[A-Z]|\w+$)")

_BACKTICKS = re.compile(r"(?<![`\w:])`([^`]+)`(?!`)(\w?)")
_PARAGRAPH = re.compile(r"[^\s:*.]")
_NAME = re.compile(r"[A-Za-z_][\w.]*(\(\))?")


def public_path(name: str) -> str | None:
    """Return the public path of a name of agy_actors, or `None` if it is not public."""
    first, dot, rest = _PRIVATE.sub("", name.removesuffix("()")).partition(".")
    path = _PUBLIC.get(first)
    return None if path is None else f"{path}{dot}{rest}"


def _resolve(app: Sphinx, env: BuildEnvironment, node: Element, content: Element) -> Any:
    target = node.get("reftarget", "")
    path = public_path(target)
    if node.get("refdomain") != "py" or path is None or path == target:
        return None
    domain = env.domains["py"]
    here = node.get("refdoc", env.docname)
    found = domain.resolve_xref(env, here, app.builder, "obj", path, node, content)
    return found or look_elsewhere(app, env, node, content)


def _tidy_bases(_app: Sphinx, _name: str, _obj: type, _options: Any, bases: list[Any]) -> None:
    """Leave out bases that are private, but not their bases that are public."""
    shown: list[Any] = []
    for base in bases:
        kind = getattr(base, "__origin__", base)
        module = getattr(kind, "__module__", "")
        if module.startswith("agy_actors.") and public_path(kind.__name__) is None:
            shown += [b for b in kind.__bases__ if public_path(b.__name__)]
        elif getattr(kind, "__name__", "") != "Generic":
            shown.append(base)
    bases[:] = dict.fromkeys(shown) or [object]


def _tidy_markup(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Make reStructuredText of text in single backticks, which docstrings write as in Markdown.

    What is no name becomes a literal, and a letter may follow, as in "`Chat`s". An indented block
    after a paragraph is code.
    """
    marked: list[str] = []
    code = False
    last = ""
    for line in lines:
        if line.strip():
            indented = line.startswith("    ")
            begins = indented and not marked[-1] and _PARAGRAPH.match(last) if marked else False
            if begins:
                marked += [".. code-block:: python", ""]
            code = indented and (code or bool(begins))
            last = line
        marked.append(line if code else _BACKTICKS.sub(_mark_up, line))
    lines[:] = marked


def _mark_up(match: re.Match[str]) -> str:
    text, letter = match.groups()
    marked = f"`{text}`" if _NAME.fullmatch(text) else f"``{text}``"
    return f"{marked}\\ {letter}" if letter else marked


def _hide_constructor(
    _app: Sphinx, _what: str, _name: str, obj: Any, _options: Any, _signature: str, _result: str
) -> tuple[str, str] | None:
    """Show no signature of a class that users do not construct."""
    return ("", "") if isinstance(obj, type) and issubclass(obj, MadeForUsers) else None


def _hide_overloads() -> None:
    """Show the last signature of a function with overloads: readers need no seven of them."""
    analyze: Any = ModuleAnalyzer.analyze

    def analyze_and_forget(analyzer: Any) -> None:
        analyze(analyzer)
        analyzer.overloads = {}

    kind: Any = ModuleAnalyzer
    kind.analyze = analyze_and_forget


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    _hide_overloads()
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-bases", _tidy_bases)
    app.connect("autodoc-process-docstring", _tidy_markup)
    app.connect("autodoc-process-signature", _hide_constructor)
    return {"parallel_read_safe": True}
