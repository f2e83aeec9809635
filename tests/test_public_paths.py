"""Public objects show their public path, and work like other objects."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import sys
import traceback
import typing
from typing import Any, get_type_hints

import pydantic
import pytest
from google.antigravity.types import UsageMetadata

import agy_actors
import agy_actors.testing
from agy_actors import AgentStartError, Chat, ChatReply, DeathReason, Lane, ModelError, RetryPolicy
from agy_actors._public_paths import show_public_paths
from agy_actors.testing import Reply
from agy_actors.testing.scripted_model import reply as _model_reply

PACKAGES = ["agy_actors", "agy_actors.testing"]


def exports() -> list[Any]:
    return [
        pytest.param(package, name, id=f"{package}.{name}")
        for package in PACKAGES
        for name in sys.modules[package].__all__
    ]


def classes() -> list[Any]:
    return [
        pytest.param(thing, id=f"{package}.{name}")
        for package in PACKAGES
        for name in sys.modules[package].__all__
        if inspect.isclass(thing := getattr(sys.modules[package], name))
    ]


def home_of(kind: type) -> dict[str, Any]:
    """Return the namespace of the private module that defines a class."""
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if "._" in name or name.startswith("agy_actors."):
            found = vars(module).get(kind.__name__)
            if found is kind and _defines(module, kind):
                return vars(module)
    raise LookupError(kind)


def _defines(module: Any, kind: type) -> bool:
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        return False
    return f"\nclass {kind.__name__}" in source


@pytest.mark.parametrize(("package", "name"), exports())
def test_public_objects_show_their_public_path(package: str, name: str) -> None:
    thing = getattr(sys.modules[package], name)

    assert thing.__module__ == package
    assert getattr(importlib.import_module(thing.__module__), thing.__qualname__) is thing
    if inspect.isclass(thing):
        assert (
            repr(thing)
            .removeprefix("<enum ")
            .removeprefix("<class ")
            .startswith(
                (f"'{package}.{name}'", f"'{name}'")  # An enum's class shows no module.
            )
        )


def test_a_traceback_shows_the_public_path_of_an_error() -> None:
    error = AgentStartError("agent 'poet' did not start")

    lines = traceback.format_exception_only(error)

    assert lines == ["agy_actors.AgentStartError: agent 'poet' did not start\n"]


@pytest.mark.parametrize(
    "thing",
    [
        Chat("hello"),
        RetryPolicy,
        Lane.TURN,
        DeathReason.STOPPED,
        agy_actors.watch,
        agy_actors.testing.Usage(prompt=3),
        agy_actors.testing.say,
    ],
    ids=lambda thing: getattr(thing, "__name__", type(thing).__name__),
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_public_objects_are_pickled_by_their_public_path(thing: Any, protocol: int) -> None:
    pickled = pickle.dumps(thing, protocol)

    assert pickle.loads(pickled) == thing
    assert b"agy_actors._" not in pickled
    assert b"testing._" not in pickled


def test_an_error_is_pickled_with_its_attributes() -> None:
    error = pickle.loads(pickle.dumps(ModelError("no", status=503, text="so far")))

    assert type(error) is ModelError
    assert (str(error), error.status, error.text) == ("no", 503, "so far")


@pytest.mark.parametrize("kind", classes())
def test_annotations_are_evaluated_in_the_defining_module(kind: type) -> None:
    home = home_of(kind)
    for name, annotation in vars(kind).get("__annotations__", {}).items():
        if not isinstance(annotation, typing.ForwardRef):
            continue
        try:
            meant = eval(annotation.__forward_arg__, dict(home))
        except NameError:
            continue  # Imported only for type checkers.
        alone = type("Alone", (), {"__annotations__": {name: annotation}})
        alone.__module__ = kind.__module__

        found = get_type_hints(alone, include_extras=True)[name]

        assert found == (type(None) if meant is None else meant)


def test_an_annotation_that_shadows_a_public_name_keeps_its_meaning() -> None:
    """There are two endings, and one of them is exported."""
    ending = get_type_hints(
        type("Alone", (), {"__annotations__": {"it": Reply.__annotations__["ending"]}})
    )["it"]

    assert ending is _model_reply.Ending
    assert ending != vars(agy_actors.testing)["Ending"]


def test_type_hints_of_a_message_can_be_evaluated() -> None:
    hints = get_type_hints(Chat)

    assert hints["timeout"] == float | None
    assert hints["lane"] == typing.ClassVar[Lane]
    assert get_type_hints(agy_actors.WaitForWakeup.__post_init__) == {"return": type(None)}


def test_type_hints_of_replies_events_and_errors_can_be_evaluated() -> None:
    assert get_type_hints(ChatReply)["usage"] == UsageMetadata | None
    assert get_type_hints(agy_actors.TurnEnded)["usage"] == UsageMetadata | None
    assert get_type_hints(agy_actors.AgentStatistics)["total_usage"] is UsageMetadata
    for name in agy_actors.__all__:
        kind = getattr(agy_actors, name)
        if inspect.isclass(kind) and issubclass(kind, agy_actors.AgyActorsError):
            assert get_type_hints(kind)["retryable"]


def test_a_message_may_be_subclassed_as_a_dataclass() -> None:
    @dataclasses.dataclass(frozen=True)
    class Question(Chat):
        topic: str = ""

    question = Question("hello", timeout=5.0, topic="rain")
    again = dataclasses.replace(question, topic="snow")

    assert (again.prompt, again.topic, copy.copy(again)) == ("hello", "snow", again)
    assert get_type_hints(Question)["topic"] is str


def test_pydantic_reads_the_fields_of_a_public_dataclass() -> None:
    adapter = pydantic.TypeAdapter(agy_actors.testing.Usage)

    assert adapter.validate_python({"prompt": 3}).prompt == 3


def test_the_source_of_functions_and_methods_can_be_read() -> None:
    assert inspect.getsource(agy_actors.watch).startswith("def watch(")
    assert "def ask(" in inspect.getsource(agy_actors.AgentRef.ask)
    assert "def __post_init__" in inspect.getsource(vars(Chat)["__post_init__"])
    assert inspect.signature(ChatReply).parameters["text"]


def test_imported_objects_keep_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("agy_actors_faces")
    module.__all__ = ["Other", "LIMIT"]  # type: ignore[attr-defined]
    other = type("Other", (), {"__module__": "somebody._private"})
    module.Other, module.LIMIT = other, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "agy_actors_faces", module)

    show_public_paths("agy_actors_faces")

    assert other.__module__ == "somebody._private"
