"""Turns two snapshots into the rows that `top` shows. Without effects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agy_actors.telemetry.top.snapshot import Node, Snapshot

__all__ = ["Row", "Summary", "make_rows", "select", "summarize"]

_SILENT = 2.0
"""Seconds without a response after which a row says so. Arbitrary: a busy machine takes less."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the tree."""

    node: Node
    depth: int
    """How many supervisors are above it."""

    has_children: bool
    expanded: bool
    """Whether its children have rows."""

    queue: int
    """How many messages wait in its mailbox and in those of all below it."""

    restarts: int
    """How often it and all below it were restarted."""

    tokens_per_minute: float | None
    """The tokens per minute of it and all below it; `None` if this is not known yet."""

    @property
    def is_silent(self) -> bool:
        """Whether its thread does not respond."""
        return self.node.silent >= _SILENT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The sums over all nodes."""

    agents: int
    busy: int
    restarting: int
    queue: int
    tokens_per_minute: float | None


@dataclasses.dataclass(slots=True)
class _Sum:
    queue: int
    restarts: int
    rate: float | None
    has_children: bool = False

    def add(self, below: _Sum) -> None:
        self.has_children = True
        self.queue += below.queue
        self.restarts += below.restarts
        if below.rate is not None:
            self.rate = below.rate + (self.rate or 0.0)


def make_rows(now: Snapshot, before: Snapshot | None, collapsed: Collection[str]) -> list[Row]:
    """Return the rows of a snapshot.

    Args:
        now: the snapshot.
        before: an earlier one, for the tokens per minute. They include only nodes that are in
            both: the tokens of a conversation that was opened in between may be old.
        collapsed: the ids of the nodes whose children have no rows.
    """
    sums = _sum_up(now, before)
    depths: dict[str, int] = {}
    rows: list[Row] = []
    for node in now.nodes:
        if node.parent and (node.parent not in depths or node.parent in collapsed):
            continue  # Its supervisor has no row, or its children have none.
        depth = depths[node.id] = depths[node.parent] + 1 if node.parent else 0
        of = sums[node.id]
        rows.append(
            Row(
                node=node,
                depth=depth,
                has_children=of.has_children,
                expanded=of.has_children and node.id not in collapsed,
                queue=of.queue,
                restarts=of.restarts,
                tokens_per_minute=of.rate,
            )
        )
    return rows


def summarize(now: Snapshot, before: Snapshot | None) -> Summary:
    """Return the sums over all nodes of a snapshot; the arguments are those of `make_rows`."""
    agents = [node for node in now.nodes if node.kind == "agent"]
    first = _sum_up(now, before)[now.nodes[0].id] if now.nodes else _Sum(0, 0, None)
    return Summary(
        agents=len(agents),
        busy=sum(node.state == "busy" for node in agents),
        restarting=sum(node.state in ("restarting", "crashed") for node in agents),
        queue=first.queue,
        tokens_per_minute=first.rate,
    )


def select(rows: Sequence[Row], wanted: str | None, index: int) -> int:
    """Return the index of the selected row.

    Args:
        rows: the rows.
        wanted: the id of the node that was selected; `None` at the beginning.
        index: the index that it had. If it has no row any more, this one is selected.
    """
    found = next((i for i, row in enumerate(rows) if row.node.id == wanted), index)
    return max(0, min(found, len(rows) - 1))


def _sum_up(now: Snapshot, before: Snapshot | None) -> dict[str, _Sum]:
    minutes = 0.0 if before is None else (now.at - before.at) / 60
    earlier = (
        {} if before is None or minutes <= 0 else {node.id: node.tokens for node in before.nodes}
    )
    sums = {
        node.id: _Sum(
            node.queue,
            node.restarts,
            max(0, node.tokens - earlier[node.id]) / minutes if node.id in earlier else None,
        )
        for node in now.nodes
    }
    for node in reversed(now.nodes):  # Each comes after its supervisor.
        if node.parent in sums:
            sums[node.parent].add(sums[node.id])
    return sums
