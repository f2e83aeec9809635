"""`Budgets`: all budgets that limit the turns of one agent, pool, session or supervisor."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple, Self

from loguru import logger

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._agents.budget import Budget, BudgetStatistics
from agy_actors._agents.events import BudgetUsedUp
from agy_actors._sdk.errors import BudgetExceeded

if TYPE_CHECKING:
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["NO_BUDGETS", "Budgets", "OwnedBudget"]


class OwnedBudget(NamedTuple):
    """A budget, and whose turns it limits."""

    budget: Budget
    """The budget."""
    owner: str
    """Whose turns it limits, such as `"pool 'workers'"`."""

    def read(self) -> BudgetStatistics:
        """Return a snapshot."""
        budget = self.budget
        return BudgetStatistics(
            owner=self.owner,
            tokens=budget.tokens,
            within=budget.within,
            used=budget.used,
            refused=budget.refused,
            retry_after=budget.retry_after(),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets above a turn, the highest first. Immutable; its methods are thread-safe."""

    owned: tuple[OwnedBudget, ...] = ()
    """The budgets. None of them is there twice."""

    supervisor: str = ""
    """The name of the supervisor, for events."""

    hub: EventHub | None = dataclasses.field(default=None, repr=False, compare=False)
    """Where the events go."""

    def __bool__(self) -> bool:
        """Return whether there is a budget."""
        return bool(self.owned)

    def below(self, budget: object, owner: str) -> Self:
        """Return the budgets of turns below an owner with a budget of its own.

        Args:
            budget: the owner's argument: a `Budget` or `None`.
            owner: the owner, as errors name it.

        Raises:
            InvalidConfig: `budget` is something else.
        """
        if budget is None:
            return self
        if not isinstance(budget, Budget):
            raise InvalidConfig(f"budget must be an agy_actors.Budget or None, got {shown(budget)}")
        if any(owned.budget is budget for owned in self.owned):
            return self  # Its tokens must not count twice.
        return dataclasses.replace(self, owned=(*self.owned, OwnedBudget(budget, owner)))

    def reporting_to(self, hub: EventHub, supervisor: str) -> Self:
        """Return the same budgets, which publish their events."""
        return dataclasses.replace(self, hub=hub, supervisor=supervisor)

    @property
    def retry_after(self) -> float:
        """Seconds until a turn may start; 0 if one may start now."""
        return max((owned.budget.retry_after() for owned in self.owned), default=0.0)

    def check(self, who: str) -> None:
        """Refuse a turn if a budget is used up.

        Args:
            who: the agent or the session, as the error names it.

        Raises:
            BudgetExceeded: it names the budget for which the turn has to wait longest.
        """
        waits = [(owned.budget.retry_after(), owned) for owned in self.owned]
        seconds, longest = max(waits, key=lambda wait: wait[0], default=(0.0, None))
        if longest is None or seconds <= 0:
            return
        budget, owner = longest
        budget._note_refusal()  # noqa: SLF001 (one concept in two classes)
        raise BudgetExceeded(
            f"a turn of {who} was not started: {_used_up(longest)}; {_advice(seconds)}",
            budget=owner,
            tokens=budget.tokens,
            within=budget.within,
            retry_after=seconds,
        )

    def count(self, tokens: int) -> None:
        """Count tokens, and publish which budgets they used up."""
        if tokens > 0:
            for owned in self.owned:
                if owned.budget.add(tokens):
                    self._announce(owned)

    def _announce(self, owned: OwnedBudget) -> None:
        budget, owner = owned
        seconds = budget.retry_after()
        logger.bind(supervisor=self.supervisor).warning(
            "No turn starts for {:,.1f} seconds: {}", seconds, _used_up(owned)
        )
        if self.hub is not None and self.hub.active:
            event = BudgetUsedUp(
                supervisor=self.supervisor,
                budget=owner,
                tokens=budget.tokens,
                within=budget.within,
                retry_after=seconds,
            )
            self.hub.publish(event)


NO_BUDGETS = Budgets()
"""No limit."""


def _used_up(owned: OwnedBudget) -> str:
    budget, owner = owned
    window = "" if math.isinf(budget.within) else f" within {budget.within:,.10g} seconds"
    return f"the budget of {owner} is used up ({budget.tokens:,} tokens{window})"


def _advice(seconds: float) -> str:
    if math.isinf(seconds):
        return "its window has no end, so use a larger Budget"
    return f"ask again in {seconds:,.1f} seconds, or use a larger Budget"
