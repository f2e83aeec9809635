"""Exactly the references in a schema that lead nowhere are found."""

from __future__ import annotations

from typing import Any

import pytest

from agy_actors._sdk.schema_references import find_dangling

STANDARD = "https://json-schema.org/draft/2020-12/schema"


def schema(part: Any, **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": part}, **others}


def deep(levels: int, part: Any) -> Any:
    for _ in range(levels):
        part = {"items": part}
    return part


@pytest.mark.parametrize(
    "good",
    [
        {},
        schema({"$ref": "#"}),
        schema({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"$ref": "#/$defs/A"}}}),
        schema({"$ref": "#name"}, **{"$defs": {"A": {"$anchor": "name"}}}),
        schema({"$ref": "http://x/a"}, **{"$defs": {"A": {"$id": "http://x/a"}}}),
        schema({"$ref": "#/properties/x/items"}, **{"$defs": {}})
        | {"properties": {"x": {"items": {}}}},
        schema({"$ref": STANDARD}),
        schema({"$ref": f"{STANDARD}#/$defs/anything"}),
        schema({"enum": [{"$ref": "#/none"}]}),
        schema({"default": {"$ref": "#/none"}}),
        schema({"x-mine": {"$ref": "#/none"}}),
        schema({}, **{"$defs": {"A": {"$ref": "#/none"}}}),
        {"properties": {"$ref": {"type": "string"}}},
        {"$schema": "http://json-schema.org/draft-04/schema#", "$ref": "#/definitions/A"}
        | {"definitions": {"A": {}}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_valid_references_are_accepted(good: dict[str, Any]) -> None:
    assert find_dangling(good) is None


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ({"$ref": "#/none"}, "$.$ref: '#/none' leads nowhere"),
        (schema({"$ref": "#/$defs/A"}), "$.properties.x.$ref: '#/$defs/A' leads nowhere"),
        (schema({"$dynamicRef": "#none"}), "$.properties.x.$dynamicRef: '#none' leads nowhere"),
        (schema({"$ref": "other.json"}), "$.properties.x.$ref: 'other.json' leads nowhere"),
        (schema({"$ref": "http://x/a"}), "$.properties.x.$ref: 'http://x/a' leads nowhere"),
        (schema({"$ref": "%%"}), "$.properties.x.$ref: '%%' leads nowhere"),
        (
            schema({"anyOf": [{}, {"items": {"$ref": "#/none"}}]}),
            "$.properties.x.anyOf[1].items.$ref: '#/none' leads nowhere",
        ),
        (
            schema({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"not": {"$ref": "#/none"}}}}),
            "$.properties.x.$ref.not.$ref: '#/none' leads nowhere",
        ),
        ({"$schema": "http://x/y"}, "$.$schema: 'http://x/y' is not a known dialect"),
        ({"$schema": 5}, "$.$schema: 5 is not a known dialect"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_reference_that_leads_nowhere_is_found(bad: dict[str, Any], found: str) -> None:
    told = find_dangling(bad)

    assert told is not None
    assert told.startswith(found)


def test_a_schema_may_be_nested_deeper_than_calls_may_be() -> None:
    assert find_dangling(deep(2_000, {})) is None
    told = find_dangling(deep(2_000, {"$ref": "#/none"}))
    assert told is not None
    assert told.endswith(".items.$ref: '#/none' leads nowhere")
