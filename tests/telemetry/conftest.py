"""Fixtures of the tests of telemetry."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.telemetry.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


@pytest.fixture
def unused_port() -> int:
    """A port that nothing listens on. Another program could take it; none of the tests does."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
