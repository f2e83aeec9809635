"""Structured output: does an answer fit its schema, and what instance is it?

The SDK keeps only the JSON schema of a `response_schema`; `_harness` remembers the pydantic
model that it was made of, where it was made of one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
from jsonschema.validators import validator_for
from pydantic import BaseModel, ValidationError

from agy_actors._agent._diagnosis import shorten
from agy_actors._agent.schema_references import find_dangling
from agy_actors._harness import model_of

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["OutputSchema"]


class OutputSchema(NamedTuple):
    """What the answers of an agent must fit."""

    schema: dict[str, Any]
    model: type[BaseModel] | None
    """The pydantic model that the schema is of, if it is of one."""

    @classmethod
    def of(cls, config: AgentConfig) -> OutputSchema | None:
        """Return what a configuration asks for, if it does.

        Raises:
            ValueError: it is not a JSON schema, or has a reference that leads nowhere.
        """
        given: Any = config.response_schema
        if not given:
            return None
        model = model_of(given)
        if isinstance(given, type) and model is not None:
            schema: Any = model.model_json_schema()  # Put there by `model_copy`, unchecked.
        else:
            schema = json.loads(given) if isinstance(given, str) else given
        if not isinstance(schema, dict):
            raise ValueError("a JSON schema is an object")  # noqa: TRY004 # of what was given
        dangling = find_dangling(schema)  # First: a library may only warn of its dialect.
        if dangling is not None:
            raise ValueError(dangling)
        try:
            validator_for(schema).check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"{error.json_path}: {shorten(error.message)}") from None
        return cls(schema, model)

    def read(self, data: Any) -> BaseModel | None:
        """Return the instance of the model, if there is a model.

        Raises:
            ValueError: the data do not fit. It says where, and nothing of the rest.
        """
        if data is None:
            raise ValueError("it ended without structured output")
        if self.model is not None:
            try:
                return self.model.model_validate(data)
            except ValidationError as error:
                complaints = error.errors(include_url=False, include_input=False)
                places = (
                    f"{'.'.join(str(part) for part in complaint['loc']) or 'all of it'}:"
                    f" {complaint['msg']}"
                    for complaint in complaints
                )
                raise ValueError(shorten("; ".join(places))) from None
        try:
            jsonschema.validate(data, self.schema)
        except jsonschema.ValidationError as error:
            raise ValueError(f"{error.json_path}: {shorten(error.message)}") from None
        return None
