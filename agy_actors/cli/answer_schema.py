"""Reads the JSON Schema of ``--schema``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.antigravity import LocalAgentConfig

from agy_actors._sdk.output_schema import OutputSchema
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_schema"]


def read_schema(path: Path) -> dict[str, Any]:
    """Read the schema of the answers.

    Raises:
        UsageProblem: the file cannot be read, or does not contain a JSON Schema of objects.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageProblem(f"--schema {path}: not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"--schema {path}: not JSON ({error})") from error
    except OSError as error:
        raise UsageProblem(
            f"--schema {path} cannot be read: {error.strerror or error}; name a file with a JSON"
            " Schema"
        ) from error
    if not schema or not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise UsageProblem(
            f"--schema {path}: the answers must be JSON objects; write a JSON Schema, such as"
            ' {"type": "object", "properties": {"city": {"type": "string"}}}'
        )
    try:
        OutputSchema.of(LocalAgentConfig(response_schema=schema))
    except ValueError as error:
        raise UsageProblem(f"--schema {path}: not a JSON Schema: {error}") from error
    return schema
