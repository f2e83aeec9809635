"""The cost of the pytest plugin is measured; its size is not asserted."""

from __future__ import annotations

import importlib.metadata

import pytest

from benchmarks import pytest_start
from benchmarks._results import OURS


def test_pytest_is_run_with_the_plugin_and_without_it() -> None:
    ours, without = pytest_start.measure(1).rows

    assert (ours.peer, without.peer) == (OURS, "without the plugin")
    assert ours.median > 0 < without.median


def test_an_installation_without_the_plugin_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])

    with pytest.raises(RuntimeError, match="not installed"):
        pytest_start.measure(1)
