"""Lists the texts of a configuration that are sent to the harness, with the path of each.

The SDK sends them as protocol buffers or as JSON. If a text cannot be encoded, the SDK raises an
error without the name of the field (google-antigravity 0.1.22).
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from google.antigravity.tools.tool_runner import ToolWithSchema
from pydantic import BaseModel

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["list_texts"]

_JSON_FIELDS = frozenset({"response_schema", "finish_tool_schema_json"})
"""Fields with JSON texts, in which characters may be escaped."""

_USERS_OBJECTS = frozenset({"hooks", "triggers"})
"""Fields that are not sent."""


def list_texts(config: AgentConfig) -> Iterator[tuple[str, str]]:
    """Yield the path and the value of each text, as in ``models[0].endpoint.api_key``.

    The texts of a tool are its name, its docstring and its schema, if it has one.
    """
    # A stack instead of recursion: schemas may be nested more deeply than Python calls.
    waiting = [("", config)]
    seen: set[int] = set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, os.PathLike):
            path = os.fspath(value)
            if isinstance(path, str):
                yield place, path
        elif not isinstance(value, enum.Enum) and id(value) not in seen:
            seen.add(id(value))
            waiting += reversed(list(_parts(place, value)))


def _parts(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"a key of {place}", key
            yield f"{place}[{key!a}]", item
    elif isinstance(value, list | tuple | AbstractSet):
        for number, item in enumerate(value):
            yield f"{place}[{number}]", item
    elif isinstance(value, BaseModel):
        for name, item in value.__dict__.items():
            yield from _field(f"{place}.{name}".lstrip("."), name, item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f"{place}.{field.name}", getattr(value, field.name, None)


def _field(place: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if name in _USERS_OBJECTS:
        return
    if name == "tools" and isinstance(value, list | tuple):
        for tool in value:
            yield from _tool(place, tool)
        return
    yield place, value
    if name in _JSON_FIELDS:
        with contextlib.suppress(Exception):  # Invalid schemas are refused elsewhere.
            # `model_copy` puts models here without converting them.
            yield place, json.loads(value) if isinstance(value, str) else value.model_json_schema()


def _tool(place: str, tool: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tool, str):
        yield f"the name of a tool in {place}", tool
        return
    name = getattr(tool, "__name__", None) or type(tool).__name__
    yield f"the name of a tool in {place}", name
    yield f"the description of tool {name!a} in {place}", getattr(tool, "__doc__", None)
    if isinstance(tool, ToolWithSchema):
        yield f"the schema of tool {name!a} in {place}", tool.input_schema
