"""The import contract of a package: layers, no circles, and no private module of the SDK.

Imports under `TYPE_CHECKING` and inside functions count like all others.
"""

from __future__ import annotations

import ast
import dataclasses
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Contract", "Import", "circles_in", "private_sdk_imports", "upward_imports"]

_SDK = "google.antigravity"
_PUBLIC_SDK_MODULES = frozenset(
    {
        "google.antigravity",
        "google.antigravity.hooks",
        "google.antigravity.hooks.policy",
        "google.antigravity.triggers",
        "google.antigravity.types",
    }
)
"""The modules that the SDK's documentation imports from (google-antigravity 0.1.22)."""

Import = tuple[str, str]
"""The importing module and the imported one."""


@dataclasses.dataclass(frozen=True)
class Contract:
    """The layers of a package.

    Args:
        package: the name of the package.
        layers: the names of its subpackages and modules, top layer first. Names in one string,
            separated by spaces, form one layer. "" is the package's own `__init__`.
    """

    package: str
    layers: Sequence[str]

    def graph(self) -> grimp.ImportGraph:
        """Read the imports of all modules of the package."""
        return grimp.build_graph(self.package, exclude_type_checking_imports=False, cache_dir=None)

    def name_of(self, module: str) -> str:
        """Return the subpackage, or the module, directly below the package; or ""."""
        return module.removeprefix(self.package).lstrip(".").partition(".")[0]

    def layer_of(self, module: str) -> int:
        """Return the layer of a module, from 0 at the top.

        Raises:
            LookupError: the module is in no layer.
        """
        name = self.name_of(module)
        for number, layer in enumerate(self.layers):
            if name in (layer.split() or [""]):
                return number
        raise LookupError(f"{module} is in no layer: add {name!r} to the contract")


def _imports(graph: grimp.ImportGraph) -> Iterator[Import]:
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if imported != module:
                yield module, imported


def upward_imports(contract: Contract, graph: grimp.ImportGraph) -> list[Import]:
    """Return the imports that point up, or to another part of the same layer."""
    found = []
    for module, imported in _imports(graph):
        importer_layer, imported_layer = map(contract.layer_of, (module, imported))
        same_part = contract.name_of(module) == contract.name_of(imported)
        if imported_layer < importer_layer or (imported_layer == importer_layer and not same_part):
            found.append((module, imported))
    return found


def circles_in(graph: grimp.ImportGraph) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or not (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in sorted(graph.find_modules_directly_imported_by(module) - {module}):
            if imported not in index:
                visit(imported)
                low[module] = min(low[module], low[imported])
            elif imported in stack:
                low[module] = min(low[module], index[imported])
        if low[module] == index[module]:
            position = stack.index(module)
            circle = stack[position:]
            del stack[position:]
            if len(circle) > 1:
                circles.append(sorted(circle))

    for module in sorted(graph.modules):
        if module not in index:
            visit(module)
    return sorted(circles)


def private_sdk_imports(folder: Path) -> list[str]:
    """Return the imports, below a folder, of the SDK's private modules or names.

    Args:
        folder: the folder of the package. Its subpackage `_sdk` is exempt.
    """
    found = []
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] == "_sdk":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for module, name in _imported_names(node):
                if module.startswith(_SDK) and not _is_public(module, name):
                    found.append(f"{path.relative_to(folder)}: {module} {name}".rstrip())
    return found


def _imported_names(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, ""
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            yield node.module, alias.name


def _is_public(module: str, name: str) -> bool:
    return module in _PUBLIC_SDK_MODULES and not name.startswith("_") and name != "connections"
