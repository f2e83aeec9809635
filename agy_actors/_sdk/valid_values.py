"""Replaces lone surrogates, which cannot be encoded, in values for the harness."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from agy_actors._sdk.call_outcomes import valid_text

__all__ = ["replace_surrogates"]


def replace_surrogates(value: Any) -> Any:
    """Replace lone surrogates in all texts of a value by U+FFFD.

    It searches dictionaries, lists, tuples and pydantic models. If there is nothing to replace, it
    returns the same object.
    """
    if isinstance(value, str):
        text = valid_text(value)
        return value if text == value else text
    if isinstance(value, BaseModel):
        fields = {name: replace_surrogates(field) for name, field in value.__dict__.items()}
        changed = {
            name: field for name, field in fields.items() if field is not getattr(value, name)
        }
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        items = [(replace_surrogates(key), replace_surrogates(item)) for key, item in value.items()]
        same = all(
            key is old_key and item is old
            for (key, item), (old_key, old) in zip(items, value.items(), strict=True)
        )
        return value if same else dict(items)
    if isinstance(value, list | tuple):
        parts = [replace_surrogates(part) for part in value]
        same = all(part is old for part, old in zip(parts, value, strict=True))
        if same:
            return value
        return parts if isinstance(value, list) else tuple(parts)
    return value
