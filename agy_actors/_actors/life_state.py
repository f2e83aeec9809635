"""`LifeState`: where one incarnation of an actor is in its life."""

from __future__ import annotations

import enum

__all__ = ["HAS_ENDED", "HAS_SUCCESSOR", "LifeState"]


class LifeState(enum.Enum):
    """Where an incarnation is in its life: see `Life.live`.

        STARTING -> RUNNING -> STOPPING -> ENDED
                       |-> RESTARTING -> RETIRED
                       |-> RETIRED

    A `StopNow` leads from STARTING to ENDED, and a request to restart to RETIRED. A failure leads
    from any of the first three to ENDED, or to RETIRED if the actor has an owner. The owner may
    declare an incarnation ABANDONED in any state.
    """

    STARTING = "starting"
    """`on_start` runs; messages wait."""

    RUNNING = "running"
    """Messages are handled."""

    STOPPING = "stopping"
    """The actor was asked to stop: the messages that came before are handled, then `on_stop`
    runs."""

    RESTARTING = "restarting"
    """The owner requested another incarnation: the handlers are cancelled, then `on_stop` runs."""

    ENDED = "ended"
    """The actor has ended for good."""

    RETIRED = "retired"
    """This incarnation has ended; its messages wait for the next one."""

    ABANDONED = "abandoned"
    """As RETIRED, but the incarnation's thread hangs."""


# Tuples: a set would call the hash of an enum's member, a Python function, for each look-up.
HAS_SUCCESSOR = (LifeState.RESTARTING, LifeState.RETIRED, LifeState.ABANDONED)
"""The states in which unfinished messages go back to the mailbox, for the next incarnation."""

HAS_ENDED = (*HAS_SUCCESSOR, LifeState.ENDED)
"""The states in which nothing more is taken from the mailbox."""
