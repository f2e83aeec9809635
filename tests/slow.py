"""Marks some cases of a test as slow, where a few show the claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["quick"]


def quick(cases: Iterable[Any], *positions: int) -> list[Any]:
    """Return cases for `parametrize`, all of which are slow except those at some positions.

    A case is one value, or a tuple with a value for each argument.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if number in positions else pytest.mark.slow,
        )
        for number, case in enumerate(cases)
    ]
