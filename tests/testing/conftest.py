from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agy_actors.testing import ScriptedModel
from tests.testing.model_client import Agents, Client, ProtocolName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(params=["openai", "gemini"])
def protocol(request: pytest.FixtureRequest) -> ProtocolName:
    return cast("ProtocolName", request.param)


@pytest.fixture
def client(protocol: ProtocolName, model: ScriptedModel) -> Client:
    return Client(protocol, model)


@pytest.fixture
def agents(protocol: ProtocolName, model: ScriptedModel, tmp_path: Path) -> Agents:
    return Agents(protocol, model, tmp_path)
