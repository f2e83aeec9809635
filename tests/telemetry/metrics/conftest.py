"""Fixtures for the tests of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.telemetry.metrics.collected import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def collected() -> Iterator[Collected]:
    with Collected() as collected:
        yield collected
