"""The files of a conversation."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from agy_actors import Chat, Delete, Disconnect, GetConversationId, Supervisor

if TYPE_CHECKING:
    from agy_actors import AgentRef
    from agy_actors.testing import ScriptedModel


def traces(folder: Path, conversation_id: str) -> list[Path]:
    return [path for path in folder.rglob("*") if conversation_id in path.name]


def converse(agent: AgentRef) -> str:
    agent.ask(Chat("hi"))
    return agent.ask(GetConversationId())


def test_a_conversation_is_kept_with_its_supervisors_state_and_nowhere_else(
    model: ScriptedModel, tmp_path: Path
) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        # A name that was never used: the conversation's id depends on it.
        agent = supervisor.create_agent(model.openai_config(), f"poet {uuid.uuid4()}")
        conversation = converse(agent)
        agent.ask(Disconnect())

    assert traces(tmp_path, conversation)
    assert not Path("~/.gemini/antigravity/brain", conversation).expanduser().exists()


def test_a_deleted_conversation_leaves_no_files(model: ScriptedModel, tmp_path: Path) -> None:
    with Supervisor.start(state_dir=tmp_path) as supervisor:
        agent = supervisor.create_agent(model.openai_config(), "poet")
        conversation = converse(agent)
        other = converse(supervisor.create_agent(model.openai_config(), "other"))
        agent.ask(Delete())

        assert not traces(tmp_path, conversation)
    assert traces(tmp_path, other)
