"""Finds references in a JSON schema that lead nowhere. Pure functions.

The harness compiles the response schema of an agent at the start of a turn, and loads no other
files: a reference must lead to a part of the schema, or to one of the standard's own schemas. It
ignores parts without a reference to them (google-antigravity 0.1.22).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from referencing.exceptions import Unresolvable
from referencing.jsonschema import (
    DRAFT202012,
    EMPTY_REGISTRY,
    UnknownDialect,
    specification_with,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from referencing import Specification

__all__ = ["find_dangling"]

_BASE = "schema://schema.json"  # The harness's own base URI.

_SCHEMAS = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "oneOf",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords whose values are a schema, or a list of schemas."""

_NAMED_SCHEMAS = frozenset(["dependencies", "dependentSchemas", "patternProperties", "properties"])
"""Keywords whose values map names to schemas."""


def find_dangling(schema: Mapping[str, Any]) -> str | None:
    """Return an error text about a reference that leads nowhere, or `None` if there is none.

    For example, "$.properties.x.$ref: '#/$defs/Name' leads nowhere".
    """
    dialect = schema.get("$schema")
    specification: Specification[Any] = DRAFT202012
    if dialect is not None:
        if not isinstance(dialect, str) or not _is_known(dialect):
            return f"$.$schema: {dialect!r} is not a known dialect of JSON schemas"
        specification = specification_with(dialect)
    root = specification.create_resource(schema)
    resolver: Any = EMPTY_REGISTRY.with_resource(_BASE, root).resolver(_BASE)
    # A stack instead of recursion: schemas may be nested more deeply than Python calls.
    waiting: list[tuple[str, Any, Any]] = [("$", schema, resolver)]
    seen: set[int] = set()
    while waiting:
        place, part, resolver = waiting.pop()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        resolver = resolver.in_subresource(specification.create_resource(part))
        for keyword in ("$ref", "$dynamicRef"):
            reference = part.get(keyword)
            if isinstance(reference, str) and not _is_known(reference.partition("#")[0]):
                try:
                    found = resolver.lookup(reference)
                except (Unresolvable, ValueError):
                    return f"{place}.{keyword}: {reference!r} leads nowhere"
                waiting.append((f"{place}.{keyword}", found.contents, found.resolver))
        waiting += [(f"{place}.{name}", inner, resolver) for name, inner in _inner(part)]
    return None


def _is_known(uri: str) -> bool:
    """Return whether one of the standard's own schemas has this identifier."""
    try:
        specification_with(uri)
    except UnknownDialect:
        return False
    return True


def _inner(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for keyword, value in part.items():
        if keyword in _NAMED_SCHEMAS and isinstance(value, Mapping):
            yield from ((f"{keyword}.{name}", schema) for name, schema in value.items())
        elif keyword in _SCHEMAS and isinstance(value, list):
            yield from ((f"{keyword}[{number}]", schema) for number, schema in enumerate(value))
        elif keyword in _SCHEMAS:
            yield keyword, value
