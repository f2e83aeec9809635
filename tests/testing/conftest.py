from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tests.testing.model_client import Agents, Client, ProtocolName

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors.testing import ScriptedModel


@pytest.fixture(params=["openai", "gemini"])
def protocol(request: pytest.FixtureRequest) -> ProtocolName:
    return cast("ProtocolName", request.param)


@pytest.fixture
def client(protocol: ProtocolName, model: ScriptedModel) -> Client:
    return Client(protocol, model)


@pytest.fixture
def agents(protocol: ProtocolName, model: ScriptedModel, tmp_path: Path) -> Agents:
    return Agents(protocol, model, tmp_path)
