"""The traceback of an error shows the user's line and a few of ours, and nothing between them."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import LocalAgentConfig

import agy_actors
from agy_actors import (
    ActorStartError,
    AgentDeadError,
    AsyncioActor,
    Chat,
    ModelError,
    TurnTimeout,
    UnknownMessage,
    UnusableConfig,
)
from agy_actors._actors.plumbing import traceback_for_asker
from agy_actors.testing import ScriptedModel, http_error, silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef

PACKAGE = str(Path(agy_actors.__file__).parent)


@pytest.fixture
def agent(model: ScriptedModel, supervisor: SupervisorRef) -> AgentRef:
    return supervisor.create_agent(model.openai_config(), "poet")


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))


def ours(error: BaseException) -> list[str]:
    return [frame.name for frame in frames(error) if frame.filename.startswith(PACKAGE)]


def model_error(agent: AgentRef, model: ScriptedModel) -> None:
    model.then(http_error(401))
    agent.ask("hi")


def streamed(agent: AgentRef, model: ScriptedModel) -> None:
    model.then(http_error(401))
    list(agent.stream("hi"))


def awaited(agent: AgentRef, model: ScriptedModel) -> None:
    async def ask() -> None:
        await agent.ask("hi", block=False)

    model.then(http_error(401))
    asyncio.run(ask())


def too_late(agent: AgentRef, model: ScriptedModel) -> None:
    model.then(silence())
    agent.ask(Chat("hi", timeout=0.1))


def ended(agent: AgentRef, _: ScriptedModel) -> None:
    agent.stop()
    agent.ask("hi")


def unknown(agent: AgentRef, _: ScriptedModel) -> None:
    agent.ask(5)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (model_error, ModelError),
        (streamed, ModelError),
        (awaited, ModelError),
        (too_late, TurnTimeout),
        (ended, AgentDeadError),
        (unknown, UnknownMessage),
    ],
)
def test_an_error_of_this_package_has_at_most_four_of_its_lines(
    agent: AgentRef,
    model: ScriptedModel,
    fail: Callable[[AgentRef, ScriptedModel], None],
    kind: type[Exception],
) -> None:
    with pytest.raises(kind) as caught:
        fail(agent, model)

    assert 1 <= len(ours(caught.value)) <= 4
    assert frames(caught.value)[-1].filename.startswith(PACKAGE)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_missing_api_key_ends_in_one_line_below_the_callers(
    supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)

    with pytest.raises(UnusableConfig, match="A Gemini API key is required") as caught:
        supervisor.create_agent(LocalAgentConfig(), "poet")

    lines = traceback.format_exception(caught.value)
    assert len(lines) <= 5  # The heading, this line, two of ours, the error.
    assert ours(caught.value) == ["create_agent", "ask"]
    assert len(str(caught.value).splitlines()) == 1


class Divider(AsyncioActor):
    def on_receive(self, message: Any) -> Any:
        return 1 / message


class NeverReady(AsyncioActor):
    def on_start(self) -> None:
        raise LookupError("no such file")


def test_an_error_of_a_users_actor_keeps_the_users_lines(supervisor: SupervisorRef) -> None:
    divider = supervisor.create_actor(Divider)

    with pytest.raises(ZeroDivisionError) as caught:
        divider.ask(0)

    assert [frame.name for frame in frames(caught.value)][-2:] == ["ask", "on_receive"]


def test_an_error_in_a_users_start_is_the_cause_and_keeps_its_lines(
    supervisor: SupervisorRef,
) -> None:
    with pytest.raises(ActorStartError, match="no such file") as caught:
        supervisor.create_actor(NeverReady)

    assert ours(caught.value) == ["create_actor", "ask"]
    assert isinstance(caught.value.__cause__, LookupError)
    assert frames(caught.value.__cause__)[-1].name == "on_start"


def test_another_error_without_a_users_line_keeps_all_of_its_lines() -> None:
    with pytest.raises(AttributeError) as caught:
        traceback_for_asker(None)  # type: ignore[arg-type]
    error = caught.value
    assert error.__traceback__ is not None

    error.__traceback__ = error.__traceback__.tb_next  # Without this test's line.

    assert traceback_for_asker(error) is error.__traceback__
    assert error.__traceback__ is not None
