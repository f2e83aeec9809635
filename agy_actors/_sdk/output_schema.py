"""`OutputSchema`: checks structured output, and creates its pydantic instance.

The SDK keeps only the JSON schema of a `response_schema`. `schema_models` remembers the pydantic
model that the schema comes from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
from jsonschema.validators import validator_for
from pydantic import BaseModel, ValidationError

from agy_actors._sdk.error_words import shorten
from agy_actors._sdk.schema_models import model_of
from agy_actors._sdk.schema_references import find_dangling

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["OutputSchema"]

_LENGTH = 500  # Characters of an error text, which quotes the model's reply. Arbitrary.


class OutputSchema(NamedTuple):
    """The schema that the replies of an agent must match."""

    schema: dict[str, Any]
    model: type[BaseModel] | None
    """The pydantic model that the schema comes from, if there is one."""

    @classmethod
    def of(cls, config: AgentConfig) -> OutputSchema | None:
        """Return the schema of a configuration, or `None` if it has no schema.

        Raises:
            ValueError: it is not a JSON schema, or has a reference that leads nowhere.
        """
        given: Any = config.response_schema
        if not given:
            return None
        model = model_of(given)
        if isinstance(given, type) and model is not None:
            schema: Any = model.model_json_schema()  # `model_copy` sets it without validation.
        else:
            schema = json.loads(given) if isinstance(given, str) else given
        if not isinstance(schema, dict):
            raise ValueError("a JSON schema is an object")  # noqa: TRY004 # of what was given
        dangling = find_dangling(schema)  # First: jsonschema may only warn about its dialect.
        if dangling is not None:
            raise ValueError(dangling)
        try:
            validator_for(schema).check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"{error.json_path}: {shorten(error.message, _LENGTH)}") from None
        return cls(schema, model)

    def read(self, data: Any) -> BaseModel | None:
        """Check the data, and return the instance of the model; `None` without a model.

        Raises:
            ValueError: the data do not match. The text names the places and quotes only them.
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
                raise ValueError(shorten("; ".join(places), _LENGTH)) from None
        try:
            jsonschema.validate(data, self.schema)
        except jsonschema.ValidationError as error:
            raise ValueError(f"{error.json_path}: {shorten(error.message, _LENGTH)}") from None
        return None
