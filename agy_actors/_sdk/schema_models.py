"""Remembers the pydantic model that a `response_schema` comes from.

The SDK's configuration turns every schema into a JSON text, in one validator of the field, and
drops the class. Several classes may have the same schema, so the class cannot be found later. With
this module, the validator returns a text that has the class as an attribute.

This changes the SDK's validator when agy_actors is imported. Its result is the same text. The code
of the function is replaced instead of the function, because pydantic keeps the function in the
compiled schemas of the configuration and of all its subclasses. It depends on
`AgentConfig._validate_schema` of google-antigravity 0.1.22. If the SDK has another shape, nothing
changes, no class is remembered, and `tests/test_contract.py` fails.
"""

from __future__ import annotations

import inspect
import sys
import types
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from google.antigravity import AgentConfig
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SchemaText", "model_of", "remember_models"]


class SchemaText(str):
    """A JSON schema as text, and the pydantic model that it comes from."""

    __slots__ = ("model",)

    model: type[BaseModel]

    def __new__(cls, text: str, model: type[BaseModel]) -> Self:
        schema = super().__new__(cls, text)
        schema.model = model
        return schema

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if _can_be_pickled(self.model):
            return SchemaText, (str(self), self.model)
        return str, (str(self),)  # Like the SDK's own text, without the model.


def model_of(schema: object) -> type[BaseModel] | None:
    """Return the pydantic model that a `response_schema` comes from, or `None` if unknown."""
    if isinstance(schema, SchemaText):
        return schema.model
    return schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None


def remember_models() -> bool:
    """Patch the SDK so that new configurations remember the models of their schemas.

    Returns:
        Whether the SDK has the known shape. If not, nothing is patched.
    """
    function = getattr(AgentConfig._validate_schema, "__func__", None)  # noqa: SLF001
    if (
        not isinstance(function, types.FunctionType)
        or function.__code__.co_freevars
        or list(inspect.signature(function).parameters) != ["cls", "v"]
    ):
        return False
    if not hasattr(function, "agy_actors_original"):
        original = types.FunctionType(function.__code__, function.__globals__)
        function.__dict__["agy_actors_original"] = original
        function.__code__ = _validate.__code__
    return True


def _validate(cls: Any, v: Any) -> Any:
    # It runs with the globals of the SDK's module, so it needs its own imports.
    from agy_actors._sdk.schema_models import keep_model  # noqa: PLC0415

    return keep_model(cls, v)


def keep_model(cls: Any, given: Any) -> Any:
    """Validate a `response_schema` as the SDK does, and return the text with its model."""
    original: Callable[[Any, Any], Any] = cls._validate_schema.__func__.agy_actors_original
    text = original(cls, given)
    model = model_of(given)
    return text if model is None or text is None else SchemaText(text, model)


def _can_be_pickled(model: type[BaseModel]) -> bool:
    try:
        found = attrgetter(model.__qualname__)(sys.modules[model.__module__])
    except (KeyError, AttributeError):
        return False
    return found is model
