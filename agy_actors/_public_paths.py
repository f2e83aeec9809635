"""Sets the `__module__` of public names: `agy_actors.TurnTimeout` in tracebacks and in `repr`.

Classes and functions are defined in private modules. Without this, tracebacks would show, and
pickles would contain, the names of these modules.

Known differences for a class whose `__module__` is set:

*   `typing.get_type_hints` would look names up in the public module. So annotations that are
    strings become references with the module of their definition. They are evaluated only on
    demand, unless a name has another meaning in the public module.
*   `inspect.getsource` finds functions and methods, but not such a class. It searches the file of
    the class's `__module__`, and Python has no other way for a class to name its file. The same
    is true of other libraries that do this, such as httpx and trio.
"""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace
from typing import Any, ForwardRef, get_type_hints

__all__ = ["show_public_paths"]

_PACKAGE = __name__.partition(".")[0]


def show_public_paths(package: str) -> None:
    """Set the `__module__` of the names that a package exports from private modules.

    Args:
        package: the name of the package. Its `__all__` lists the exported names.
    """
    public = vars(sys.modules[package])
    for name in public["__all__"]:
        thing = public[name]
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        if thing.__module__ != package and thing.__module__.startswith(f"{_PACKAGE}."):
            if inspect.isclass(thing):
                _keep_annotations(thing, public)
            thing.__module__ = package


def _keep_annotations(kind: type, public: dict[str, Any]) -> None:
    """Make the annotations of a class refer to the module that defines it."""
    home = vars(sys.modules[kind.__module__])
    annotations: dict[str, Any] = vars(kind).get("__annotations__", {})
    fields: dict[str, Any] = vars(kind).get("__dataclass_fields__", {})
    for name, annotation in annotations.items():
        if isinstance(annotation, str):
            meaning = _meaning(annotation, kind.__module__, home, public)
            annotations[name] = meaning
            if name in fields and fields[name].type == annotation:
                fields[name].type = meaning


def _meaning(annotation: str, module: str, home: dict[str, Any], public: dict[str, Any]) -> Any:
    reference = ForwardRef(annotation, is_argument=False, module=module, is_class=True)
    names = reference.__forward_code__.co_names
    if any(name in home and public.get(name, home[name]) is not home[name] for name in names):
        here = SimpleNamespace(__annotations__={"it": annotation})
        return get_type_hints(here, home, include_extras=True)["it"]
    return reference
