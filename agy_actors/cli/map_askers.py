"""How ``map`` asks its prompts: each in a new conversation, of a pool or as a durable request."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Protocol

import tenacity

from agy_actors import Backoff, Chat, RequestState, Supervisor
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import AgentConfig

    from agy_actors import ChatReply, PoolRef, Sessions, SupervisorRef
    from agy_actors.cli.prompts import PromptLine

__all__ = ["Asker", "DurableAsker", "PoolAsker", "state_folder"]

_AT_ONCE = Backoff(wait=tenacity.wait_none())
"""Agents restart without a delay: a prompt that is asked again waits by itself."""


def state_folder(out: Path | None) -> Path:
    """Return the folder for the durable requests of a file of results.

    Raises:
        UsageProblem: there is no such file.
    """
    if out is None:
        raise UsageProblem(
            "--durable keeps its requests beside the file of results: give it with -o"
        )
    return out.with_name(f"{out.name}.requests")


class Asker(Protocol):
    """Asks prompts. Thread-safe."""

    def start(self) -> SupervisorRef:
        """Start the supervisor, which the caller stops."""
        ...

    def open(self, supervisor: SupervisorRef, config: AgentConfig, size: int) -> None:
        """Make the agents, of which `size` work at a time."""

    def ask(self, prompt: PromptLine, attempt: int, timeout: float | None) -> ChatReply:
        """Ask a prompt, for the `attempt`-th time in this run."""
        ...

    def forget(self, prompt: PromptLine) -> None:
        """Note that the result of a prompt is written."""

    def close(self, *, complete: bool) -> None:
        """Remove what is no longer needed, after the supervisor's end."""


class PoolAsker:
    """Asks the members of a pool, whose conversations are not saved."""

    _pool: PoolRef

    def start(self) -> SupervisorRef:
        """Start the supervisor."""
        return Supervisor.start(name="map", backoff=_AT_ONCE)

    def open(self, supervisor: SupervisorRef, config: AgentConfig, size: int) -> None:
        """Make the pool."""
        self._pool = supervisor.create_pool(config, size, name="map")

    def ask(self, prompt: PromptLine, attempt: int, timeout: float | None) -> ChatReply:
        """Ask a prompt."""
        del attempt
        return self._pool.ask(Chat(prompt.prompt, timeout=timeout))

    def forget(self, prompt: PromptLine) -> None:
        """Do nothing."""

    def close(self, *, complete: bool) -> None:
        """Do nothing."""


class DurableAsker:
    """Submits durable requests: an answer that was given is not lost, whatever ends the run.

    Args:
        folder: the folder for the requests. It is removed when every prompt is answered.
    """

    _sessions: Sessions

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._earlier: dict[str, int] = {}
        """How many requests of a prompt failed in earlier runs, by its key."""

    def start(self) -> SupervisorRef:
        """Start the supervisor."""
        return Supervisor.start(name="map", backoff=_AT_ONCE, state_dir=self._folder)

    def open(self, supervisor: SupervisorRef, config: AgentConfig, size: int) -> None:
        """Make the sessions."""
        self._sessions = supervisor.create_sessions(
            config, "map", max_awake=size, idle_timeout=None, keep_results=365 * 86_400.0
        )

    def ask(self, prompt: PromptLine, attempt: int, timeout: float | None) -> ChatReply:
        """Ask a prompt, or return the answer that an earlier run got."""
        key = _key(prompt)
        if attempt == 1:  # A prompt that failed in an earlier run is asked again.
            failed = self._sessions.receipts(key=key, state=RequestState.FAILED)
            self._earlier[key] = sum(1 for _ in failed)
        # A request of an earlier run that did not fail has the same number, and so the same id.
        number = self._earlier[key] + attempt
        chat = Chat(prompt.prompt, timeout=timeout)
        return self._sessions.submit(key, chat, id=f"{key}-{number}").result()

    def forget(self, prompt: PromptLine) -> None:
        """Remove the conversation of a prompt."""
        key = _key(prompt)
        self._earlier.pop(key, None)
        self._sessions.delete(key)

    def close(self, *, complete: bool) -> None:
        """Remove the folder, if every prompt is answered."""
        if complete:
            shutil.rmtree(self._folder, ignore_errors=True)


def _key(prompt: PromptLine) -> str:
    """Return the key of a prompt's session: another one if its text has changed."""
    return hashlib.sha256(f"{prompt.id}\n{prompt.prompt}".encode()).hexdigest()
