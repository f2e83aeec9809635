"""`SessionAgents`: makes the agents of sessions."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from google.antigravity import AgentConfig

from agy_actors._actors.errors import InvalidConfig
from agy_actors._agents.agent_work import AgentWork
from agy_actors._agents.creation_messages import CreateAgent
from agy_actors._agents.make_agent_child import make_agent_spec, make_child_of_spec
from agy_actors._agents.setup_checks import check_database
from agy_actors._agents.turn_crashes import TurnCrashes
from agy_actors._sdk.errors import ConversationCorrupt, UnusableConfig
from agy_actors._sdk.make_agent import copy_config
from agy_actors._sdk.packed_conversation import PackedConversation
from agy_actors._sessions.session_files import APP_DATA
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.session_labels import label_of
from agy_actors._supervision.claims import Claims
from agy_actors._supervision.restart_policy import Restart

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors._agents.agent_child import AgentChild
    from agy_actors._agents.budgets import Budgets
    from agy_actors._agents.record import AgentSpec
    from agy_actors._sessions.awake_session import AwakeSession
    from agy_actors._sessions.sessions_creation import CreateSessions
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["STOP_TIMEOUT", "SessionAgents"]

STOP_TIMEOUT = 10.0
"""Seconds that an agent gets to close its conversation, or to finish its turn when the sessions are
drained. The default of `create_agent`."""


class SessionAgents(AgentWork):
    """Makes the agents of sessions, and knows the properties of their turns.

    Args:
        message: the message that creates the sessions.
        folder: the folder of the sessions.
        budgets: the budgets that limit their turns.
    """

    def __init__(self, message: CreateSessions, folder: Path, budgets: Budgets) -> None:
        self._config = message.config
        self._folder = folder
        self._retry = message.retry
        self.budgets = budgets
        """The budgets that limit the turns."""
        self._template: AgentSpec | None = None
        """The checked spec of all sessions, unless a function makes their configurations. A check
        takes longer than all else that is done here for an agent."""

    def check(self, owner: OwnerActor, name: str) -> None:
        """Refuse an invalid configuration, unless a function makes it.

        Raises:
            InvalidConfig: names the argument, and valid values.
        """
        if isinstance(self._config, AgentConfig):
            request = self._request(name, self._config)
            self._template = make_agent_spec(owner, name, request)
        elif not callable(self._config):
            raise InvalidConfig(
                f"sessions {name!r} need a configuration of the SDK, or a function that returns the"
                f" configuration of a key, got {type(self._config).__name__}"
            )

    def make(self, owner: OwnerActor, key: str, facts: AwakeSession) -> AgentChild:
        """Make the agent of a session.

        Raises:
            ConversationCorrupt: the file of its conversation is damaged.
            Exception: it cannot be made, or the user's function raised.
        """
        self._check_files(key)
        template = self._template
        if template is not None:
            spec = self._spec_of(template, key)
        else:
            config = self._config(key) if callable(self._config) else self._config
            spec = make_agent_spec(owner, key, self._request(key, config))
        packed = PackedConversation(
            spec.conversation_id,
            self._folder,
            spec.config.app_data_dir,
            lambda: label_of(facts.info()),
            f"session {key!r}",
        )
        spec = dataclasses.replace(spec, packed=packed)
        return make_child_of_spec(owner, spec, Restart.PERMANENT, Claims(None))

    def _spec_of(self, template: AgentSpec, key: str) -> AgentSpec:
        """Return the spec of a session whose configuration was checked already."""
        conversation_id = conversation_id_of(key)
        config = copy_config(template.config).model_copy(
            update={"conversation_id": conversation_id}
        )
        return dataclasses.replace(
            template, name=key, config=config, conversation_id=conversation_id
        )

    def _check_files(self, key: str) -> None:
        path = self._folder / f"{conversation_id_of(key)}.db"
        try:
            check_database(path, key)
        except UnusableConfig as error:
            raise ConversationCorrupt(
                f"session {key!r} cannot be opened: the file {path} is damaged or cannot be read;"
                " restore this file from a backup, or delete the session with sessions.delete(key)",
                path=str(path),
            ) from error

    def app_data_dir(self, key: str) -> str:
        """Return the folder for the harness's other files about a session."""
        config: object = None
        with contextlib.suppress(Exception):  # The user's function; then there is no other folder.
            config = self._config(key) if callable(self._config) else self._config
        named: str | None = getattr(config, "app_data_dir", None)
        return named or str(self._folder / APP_DATA)

    def _request(self, key: str, config: object) -> CreateAgent:
        """Return the request for the agent of a session.

        Raises:
            InvalidConfig: the configuration is not one, or has what sessions do not allow.
        """
        if not isinstance(config, AgentConfig):
            raise InvalidConfig(
                f"the function that makes the configurations of sessions must return one of the"
                f" SDK, such as LocalAgentConfig(...), got {type(config).__name__} for {key!r}"
            )
        for field, why in (
            ("conversation_id", "each session has its own"),
            ("save_dir", "all sessions are in the state_dir of their supervisor"),
            ("triggers", "they do not run while a session sleeps"),
        ):
            if getattr(config, field, None):
                raise InvalidConfig(
                    f"the configuration of session {key!r} cannot have {field}: {why}; leave it out"
                )
        return CreateAgent(
            config.model_copy(
                update={
                    "conversation_id": conversation_id_of(key),
                    "save_dir": str(self._folder),
                    "app_data_dir": config.app_data_dir or str(self._folder / APP_DATA),
                }
            ),
            retry=self._retry,
            stop_timeout=STOP_TIMEOUT,
        )

    def new_history(self) -> TurnCrashes:
        return TurnCrashes()
