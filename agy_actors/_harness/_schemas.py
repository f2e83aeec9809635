"""Remembers which pydantic model a `response_schema` was made of.

The SDK's configuration turns whatever it is given into JSON text, in one validator of the
field, and forgets the class. Several classes may have the same schema, so it cannot be found
again. Here the validator returns text that carries the class.

This changes the validator of the SDK when agy_actors is imported: its result is the same
text. The function's code is replaced, and not the function, because pydantic has put that
into the compiled schemas of the configuration and of all its subclasses. Rests on
`AgentConfig._validate_schema` of google-antigravity 0.1.22; where it has another shape, nothing
is changed, and no class is remembered. `tests/test_contract.py` fails then.
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
    """A JSON schema as text, and the pydantic model that it was made of."""

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
        return str, (str(self),)  # As the SDK's own text, which can.


def model_of(schema: object) -> type[BaseModel] | None:
    """Return the pydantic model that a `response_schema` was made of, if it is known."""
    if isinstance(schema, SchemaText):
        return schema.model
    return schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None


def remember_models() -> bool:
    """Have configurations that are made from now on remember the models of their schemas.

    Returns:
        Whether the SDK has the shape that is known here.
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
    # Runs with the globals of the SDK's module, so that everything is imported here.
    from agy_actors._harness._schemas import keep_model  # noqa: PLC0415

    return keep_model(cls, v)


def keep_model(cls: Any, given: Any) -> Any:
    """Validate a `response_schema` as the SDK does, and keep its model with the text."""
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
