"""Reads the results and the requests of ``map``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agy_actors.testing import ScriptedModel


def records(lines: str) -> list[dict[str, Any]]:
    """Read results, in the order of their prompts."""
    return sorted(map(json.loads, lines.splitlines()), key=lambda record: record["index"])


def asked(model: ScriptedModel) -> list[str]:
    return sorted(request.prompt for request in model.requests)
