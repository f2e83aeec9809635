from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors import Supervisor
from agy_actors.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def supervisor() -> Iterator[SupervisorRef]:
    with Supervisor.start() as supervisor:
        yield supervisor
