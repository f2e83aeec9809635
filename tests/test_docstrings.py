"""Docstrings of public names have a fixed form (Google's), and agree with the signatures."""

from __future__ import annotations

import builtins
import dataclasses
import enum
import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import agy_actors
import agy_actors.testing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Warns", "Example")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}\*{0,2}(\w+): (?=\S)", re.MULTILINE)

SECONDS = re.compile(r"timeout|seconds|delay|spacing|within|shrink_after|after|every")
"""Names of arguments and fields that are times."""

INTERNAL = {
    "agy_actors.Supervisor",
    "agy_actors.testing.Deviations",
    "agy_actors.testing.DrawnChoices",
    "agy_actors.testing.Fifo",
    "agy_actors.testing.PriorityChanges",
    "agy_actors.testing.RandomChoices",
    "agy_actors.testing.ReplayChoices",
    "agy_actors.testing.SimulatedAgent",
}
"""Classes whose users call only `start`, or nothing: the methods are called by this package."""

PACKAGES = (agy_actors, agy_actors.testing)


def public_things() -> Iterator[tuple[str, Any]]:
    for package in PACKAGES:
        for name in package.__all__:
            yield f"{package.__name__}.{name}", getattr(package, name)


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("agy_actors")


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield public functions, and the public methods of public classes."""
    for path, thing in public_things():
        if inspect.isfunction(thing):
            yield path, thing
        elif inspect.isclass(thing):
            for name, method in inspect.getmembers(thing, callable):
                internal = name.startswith("_") or (path in INTERNAL and name != "start")
                if not internal and is_ours(method) and not inspect.isclass(method):
                    yield f"{path}.{name}", method


def entries(text: str, section: str) -> dict[str, str]:
    """Return what a section of a docstring says of each name; empty if there is no such section."""
    parts = _SECTION.split(text)
    body = dict(zip(parts[1::2], parts[2::2], strict=True)).get(section, "")
    body = re.split(r"^(?=\S)", body.strip("\n"), maxsplit=1, flags=re.MULTILINE)[0]
    pieces = _ENTRY.split(body)
    starts = _ENTRY.finditer(body)
    return {m[1]: rest for m, rest in zip(starts, pieces[2::2], strict=True)}


def problems_of(function: Callable[..., Any]) -> list[str]:
    """Compare a function's docstring with its signature."""
    text = inspect.getdoc(function) or ""
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    described = entries(text, "Args")
    problems = []
    if described and list(described) != parameters:
        problems.append(f"Args are {list(described)}, the signature has {parameters}")
    if not described and len(parameters) > 1:
        problems.append(f"no Args for {parameters}")
    if not text.splitlines()[0].endswith("."):
        problems.append("the first line does not end with a full stop")
    problems += [
        f"Raises names {name}, which is no exception"
        for name in entries(text, "Raises")
        if not is_exception(name)
    ]
    return problems


def is_exception(name: str) -> bool:
    kinds = [getattr(package, name, None) for package in (*PACKAGES, builtins)]
    return any(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)


def test_docstrings_of_functions_agree_with_their_signatures() -> None:
    functions = dict(callables())
    problems = {
        path: found for path, function in functions.items() if (found := problems_of(function))
    }

    assert len(functions) > 100
    assert problems == {}


def test_the_docs_of_times_say_their_unit() -> None:
    without = [
        f"{path}: {name}"
        for path, function in callables()
        for name, text in entries(inspect.getdoc(function) or "", "Args").items()
        if SECONDS.fullmatch(name)
        and "float" in str(inspect.signature(function).parameters[name].annotation)
        and not re.search("second|see there", text.lower())
    ]

    assert without == []


def fields() -> Iterator[tuple[str, str, str]]:
    """Yield the path, name and source of the docs of each field of public dataclasses."""
    for path, thing in public_things():
        if not (inspect.isclass(thing) and dataclasses.is_dataclass(thing)):
            continue
        for field in dataclasses.fields(thing):
            if not field.name.startswith("_"):
                yield path, field.name, docs_of(thing, field.name)


def docs_of(kind: type, name: str) -> str:
    """Return the text below an attribute, in the source of the class that defines it."""
    pattern = re.compile(rf"^    {name}: .*?^    \"\"\"(.+?)\"\"\"", re.MULTILINE | re.DOTALL)
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            for source in CLASSES[base.__name__]:
                if found := pattern.search(source):
                    return found[1]
    return ""


def read_classes() -> dict[str, list[str]]:
    """Return the source of each class of the package, by its name."""
    classes: dict[str, list[str]] = defaultdict(list)
    for path in Path(agy_actors.__file__).parent.rglob("*.py"):
        for source in re.split(r"^(?=\S)", path.read_text(), flags=re.MULTILINE):
            if found := re.match(r"class (\w+)", source):
                classes[found[1]].append(source)
    return classes


CLASSES = read_classes()


def test_every_field_has_docs_and_times_their_unit() -> None:
    found = list(fields())
    assert len(found) > 100

    assert [f"{path}.{name}" for path, name, text in found if not text] == []
    assert [
        f"{path}.{name}: {text}"
        for path, name, text in found
        if SECONDS.fullmatch(name) and "second" not in text.lower()
    ] == []


def test_every_member_of_a_public_enum_has_docs() -> None:
    kinds = [x for _, x in public_things() if inspect.isclass(x) and issubclass(x, enum.Enum)]
    assert kinds

    for kind in kinds:
        for member in kind:
            pattern = re.compile(rf"^    {member.name} = .*\n    \"\"\"\S", re.MULTILINE)
            assert any(pattern.search(source) for source in CLASSES[kind.__name__]), member


@pytest.mark.parametrize(
    ("docstring", "problem"),
    [
        ("Do it.\n\nArgs:\n    a: one.\n    b: two.", ""),
        ("Do it.\n\nArgs:\n    a: one.", "Args are ['a'], the signature has ['a', 'b']"),
        ("Do it.\n\nArgs:\n    b: two.\n    a: one.", "Args are ['b', 'a']"),
        ("Do it.", "no Args"),
        ("Do it", "full stop"),
        ("Do it.\n\nArgs:\n    a: 1.\n    b: 2.\n\nRaises:\n    NoError: no.", "no exception"),
    ],
)
def test_a_docstring_that_differs_is_found(docstring: str, problem: str) -> None:
    def function(a: int, b: int) -> None:
        del a, b

    function.__doc__ = docstring

    assert problem in " ".join(problems_of(function))
    assert bool(problem) == bool(problems_of(function))
