"""Logs and publishes the events of a supervisor's children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._supervision.counts import What
from agy_actors._supervision.events import (
    AgentGivenUp,
    AgentHung,
    AgentRestarting,
    AgentStopped,
    SupervisorEscalated,
)

if TYPE_CHECKING:
    from loguru import Logger

    from agy_actors._supervision.child import Child
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["ChildAnnouncements"]


class ChildAnnouncements:
    """Logs and publishes the events of one supervisor's children.

    Args:
        supervisor: its name.
        hub: where its events go.
        log: its log.
    """

    def __init__(self, supervisor: str, hub: EventHub, log: Logger) -> None:
        self._supervisor = supervisor
        self._hub = hub
        self._log = log

    def restarting(self, child: Child, delay: float) -> None:
        """Announce that a child failed, and is restarted after these seconds."""
        self._log.bind(agent=child.name).warning(
            "{} failed ({}), restarts in {:.2f} s", child.noun, type(child.error).__name__, delay
        )
        if self._hub.active:
            self._hub.publish(
                AgentRestarting(supervisor=self._supervisor, agent=child.name, delay=delay)
            )

    def given_up(self, child: Child, error: Exception) -> None:
        """Announce that a child is no longer restarted."""
        self._hub.counts.add(What.GIVE_UPS, child.kind)
        self._log.bind(agent=child.name).error("{}", error)
        if self._hub.active:
            self._hub.publish(
                AgentGivenUp(supervisor=self._supervisor, agent=child.name, error=str(error))
            )

    def escalated(self, error: Exception) -> None:
        """Announce that the supervisor fails because of a child."""
        self._log.error("{}", error)
        if self._hub.active:
            self._hub.publish(SupervisorEscalated(supervisor=self._supervisor, error=str(error)))

    def hung(self, child: Child, seconds: float, where: str) -> None:
        """Announce that a child has not responded for these seconds."""
        self._hub.counts.add(What.HANGS, child.kind)
        if self._hub.active:
            self._hub.publish(
                AgentHung(
                    supervisor=self._supervisor, agent=child.name, seconds=seconds, where=where
                )
            )

    def abandoned(self, child: Child, why: str) -> None:
        """Announce that a child's thread is abandoned, and the child replaced."""
        log = self._log.bind(agent=child.name)
        log.error("{} hangs; its thread is abandoned: {}", child.noun, why)

    def stopped(self, child: Child) -> None:
        """Announce that a child was ended on request."""
        if self._hub.active:
            self._hub.publish(AgentStopped(supervisor=self._supervisor, agent=child.name))
