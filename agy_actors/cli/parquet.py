"""Imports `pyarrow`, which is optional."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from agy_actors.cli.usage_problem import UsageProblem

__all__ = ["Arrow", "load_arrow"]


class Arrow(NamedTuple):
    """The modules of `pyarrow`, which type checkers do not know."""

    arrow: Any
    parquet: Any


def load_arrow(name: str) -> Arrow:
    """Import `pyarrow`, which takes some 0.2 s.

    Args:
        name: the file that needs it, for the error.

    Raises:
        UsageProblem: it is not installed.
    """
    try:
        return Arrow(importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet"))
    except ImportError as error:
        raise UsageProblem(
            f"{name}: Parquet files need pyarrow, which is not installed; run: pip install"
            " 'agy-actors[parquet]'"
        ) from error
