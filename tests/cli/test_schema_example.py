from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from agy_actors.cli.schema_example import example_of


class Street(BaseModel):
    name: str
    number: int | None = None


class City(BaseModel):
    name: str
    streets: list[Street]


NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"next": {"$ref": "#/$defs/Node"}},
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"properties": {"a": {"type": "string", "minLength": 9}, "b": {"maxLength": 2}}},
        {"required": ["a"], "properties": {"a": {"type": ["integer", "null"]}}},
        {"properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 5}, "c": {"examples": [1.5]}}},
        {"properties": {"a": {"type": "number", "exclusiveMinimum": 3, "maximum": 5}}},
        {"properties": {"a": {"type": "integer", "maximum": -3}}},
        {"properties": {"a": {"type": "array", "minItems": 2, "items": {"type": "boolean"}}}},
        {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        {"properties": {"a": {"type": "integer", "default": 7}, "b": {"type": "null"}}},
        City.model_json_schema(),
        {**NODE, "$defs": {"Node": NODE}},
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example_of(schema), schema)


def test_a_circle_of_references_ends() -> None:
    circle = {"$ref": "#/$defs/Loop"}

    assert example_of({**circle, "$defs": {"Loop": circle}}) == {}


def test_all_named_properties_are_filled() -> None:
    example = example_of(City.model_json_schema())

    assert example == {"name": "example", "streets": [{"name": "example", "number": None}]}
