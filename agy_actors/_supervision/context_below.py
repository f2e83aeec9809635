"""The context of a supervisor or a pool below another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.supervisor_context import SupervisorContext

__all__ = ["context_below"]


def context_below(owner: OwnerActor, name: str, message: object) -> SupervisorContext:
    """Return the context of a supervisor or a pool below another, which a message creates."""
    context = owner.context
    return context._replace(
        reporter=owner.lifecycle.reporter_of(name),
        path=f"{context.path}{name}/",
        hub=owner.lifecycle.hub,
        owners=owner.owners_of_children,
        kinds=context.kinds.below(name, message),
    )
