"""`AgentResources`: what the agents of one supervisor share."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from agy_actors._agents.open_files import OpenFiles
from agy_actors._agents.rate_limit import PaceKeeper
from agy_actors._agents.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._agents.budgets import Budgets
    from agy_actors._agents.rate_limit import PaceBoard
    from agy_actors._agents.turn_slots import TurnSlots
    from agy_actors._sdk.process.process_pool import ProcessPool
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["AgentResources"]


class AgentResources:
    """What the agents of one supervisor share, also with supervisors above and below.

    Args:
        save_dir: the folder for conversations.
        durable: whether conversations are resumed by the agents' names in the next run.
        pace: the paces of API keys.
        slots: the turns that run in the whole tree.
        processes: starts processes that agents share; `None` if each agent has its own.
        spacing: the least seconds between turn starts of agents of one API key.
        budgets: the budgets that limit the turns of the agents.
        above: the resources of the supervisor above.
    """

    def __init__(
        self,
        *,
        save_dir: Path,
        durable: bool,
        pace: PaceBoard,
        slots: TurnSlots,
        processes: ProcessPool | None,
        spacing: float,
        budgets: Budgets,
        above: AgentResources | None = None,
    ) -> None:
        self.save_dir = save_dir
        self.durable = durable
        self.pace = pace
        self.slots = slots
        self.budgets = budgets
        self.tally: Tally = Tally(None if above is None else above.tally)
        self.open_files = OpenFiles()
        self._processes = processes
        self._spacing = spacing
        self._keeper: PaceKeeper | None = None

    @property
    def shared_pids(self) -> list[int]:
        """The ids of the processes that agents share. Callable from any thread."""
        return [] if self._processes is None else self._processes.pids

    @property
    def process_pool(self) -> AsyncioActorRef | None:
        """The actor that starts processes that agents share."""
        return None if self._processes is None else self._processes.actor_ref

    def below(self, budget: object, owner: str) -> AgentResources:
        """Return the resources of a supervisor, a pool or sessions below.

        Args:
            budget: its own budget; `None` if it has none.
            owner: what it is, as errors about the budget name it.

        Raises:
            InvalidConfig: `budget` is something else.
        """
        return AgentResources(
            save_dir=self.save_dir,
            durable=self.durable,
            pace=self.pace,
            slots=self.slots,
            processes=self._processes,
            spacing=self._spacing,
            budgets=self.budgets.below(budget, owner),
            above=self,
        )

    # For the supervisor at the top.

    def start(self, owner: OwnerActor) -> None:
        """Start the actors that the whole tree shares."""
        hub = owner.lifecycle.hub
        self._keeper = PaceKeeper(self.pace, self._spacing, owner.name, hub, self.slots)
        self._keeper._begin()  # noqa: SLF001 (an actor's owner begins it)
        if self._processes is not None:
            self._processes._begin()  # noqa: SLF001 (likewise)

    async def stop(self) -> None:
        """Stop the processes that agents share."""
        if self._processes is not None:
            await self._processes.actor_ref.stop(block=False)

    def stop_last(self) -> list[Awaitable[object]]:
        """Stop the actors that report events until the end, and return the futures to wait for."""
        return [] if self._keeper is None else [self._keeper.actor_ref.stop(block=False)]

    def clean_up(self) -> None:
        """Remove the conversations, unless they are kept for the next run."""
        if not self.durable:
            shutil.rmtree(self.save_dir, ignore_errors=True)
