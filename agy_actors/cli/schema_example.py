"""Makes an example of a JSON Schema, for rehearsals."""

from __future__ import annotations

from typing import Any

__all__ = ["example_of"]

_DEPTH = 8  # Levels of nesting after which optional parts are left out. Arbitrary.

_CHOICES = ("anyOf", "oneOf", "allOf")


def example_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object for a schema, with all properties that it names.

    It knows the common keywords: types, required and named properties, choices, references within
    the schema, lengths and bounds. For a schema with others, the object may not fit.
    """
    example = _example(schema, schema, 0)
    return example if isinstance(example, dict) else {}


def _example(schema: Any, root: dict[str, Any], depth: int) -> Any:
    schema = _simplified(schema, root)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for given in ("enum", "examples"):
        if schema.get(given):
            return schema[given][0]
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        count = schema.get("minItems", 0 if depth > _DEPTH else 1)
        return [_example(schema.get("items", {}), root, depth + 1) for _ in range(count)]
    return _scalar(schema, str(kind))


def _simplified(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Follow the references of a schema, and take the first of its choices."""
    for _ in range(_DEPTH):  # References may form a circle.
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            schema = _resolve(schema["$ref"], root)
            continue
        choice = next((name for name in _CHOICES if schema.get(name)), None)
        if choice is None:
            break
        rest = {name: value for name, value in schema.items() if name != choice}
        schema = {**_simplified(schema[choice][0], root), **rest}
    return schema if isinstance(schema, dict) else {}


def _object(schema: dict[str, Any], root: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    names = required if depth > _DEPTH else dict.fromkeys([*required, *properties])
    return {name: _example(properties.get(name, {}), root, depth + 1) for name in names}


def _scalar(schema: dict[str, Any], kind: str) -> Any:
    if kind == "string":
        return "example".ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
    if kind in ("integer", "number"):
        if "minimum" in schema or "exclusiveMinimum" in schema:
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        return min(0, schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1))
    return False if kind == "boolean" else None


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    """Follow a reference within the schema, such as ``#/$defs/City``."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name, {}) if isinstance(found, dict) and part else found
    return found
