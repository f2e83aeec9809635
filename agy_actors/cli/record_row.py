"""Records as the rows of a table.

A table has the columns of `COLUMNS` and one more for each further field of a prompt, whose name
begins with `EXTRA`. Values that a cell cannot have are JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMNS", "EXTRA", "KINDS", "from_row", "to_row"]

KINDS: dict[str, type] = {
    "id": str,
    "index": int,
    "prompt": str,
    "text": str,
    "structured": str,
    "model": str,
    "time": str,
    "usage": str,
    "agent": str,
    "seconds": float,
    "attempts": int,
    "error_type": str,
    "error_message": str,
    "error_retryable": bool,
}
"""The columns of every table, with the types of their values."""

COLUMNS = tuple(KINDS)
EXTRA = "extra."

_JSON = ("structured", "usage")
_OPTIONAL = ("model", "time")


def to_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a record; `None` for an empty cell."""
    error = record["error"] or {}
    row = {name: record.get(name) for name in COLUMNS}
    for name in _JSON:
        # A record without structured data differs from one whose data are `null`.
        row[name] = _as_json(record[name]) if name in record else None
    for name in ("type", "message", "retryable"):
        row[f"error_{name}"] = error.get(name)
    row["seconds"] = float(record["seconds"])
    row.update({f"{EXTRA}{name}": value for name, value in record.get("extra", {}).items()})
    return {name: _encodable(value) for name, value in row.items()}


def from_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row.

    Raises:
        ValueError: a value is not one of a result.
    """
    record: dict[str, Any] = {}
    for name in ("id", "index", "prompt", "text"):
        record[name] = row[name]
    if row["structured"] is not None:
        record["structured"] = json.loads(row["structured"])
    record.update({name: row[name] for name in _OPTIONAL if row[name] is not None})
    record["usage"] = None if row["usage"] is None else json.loads(row["usage"])
    for name in ("agent", "seconds", "attempts"):
        record[name] = row[name]
    record["error"] = None
    if row["error_type"] is not None:
        record["error"] = {
            "type": row["error_type"],
            "message": row["error_message"] or "",
            "retryable": bool(row["error_retryable"]),
        }
    extra = {
        name.removeprefix(EXTRA): value
        for name, value in row.items()
        if name.startswith(EXTRA) and value is not None
    }
    if extra:
        record["extra"] = extra
    return record


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _encodable(value: Any) -> Any:
    """Replace lone surrogates in a text, which UTF-8 cannot encode."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
