"""`Supervisor`: the actor that creates agents, restarts those that crash, and ends all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from agy_actors._actors.not_constructible import MadeForUsers
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.agent_resources import AgentResources
from agy_actors._agents.agent_validation import check_resources
from agy_actors._agents.budgets import NO_BUDGETS
from agy_actors._agents.defaults import STOP_GRACE, conversations_per_process, start_timeout
from agy_actors._agents.rate_limit import PaceBoard
from agy_actors._agents.turn_slots import TurnSlots
from agy_actors._dotenv import load_dotenv
from agy_actors._sdk.errors import AgentDeadError
from agy_actors._sdk.private_folders import make_private_temporary_folder
from agy_actors._sdk.process.process_pool import ProcessPool
from agy_actors._supervision import interpreter_exit
from agy_actors._supervision.event_hub import EventHub
from agy_actors._supervision.family import Family
from agy_actors._supervision.restart_policy import Backoff, Limits, Strategy
from agy_actors._supervision.supervisor_actor import SupervisorActor
from agy_actors._supervision.supervisor_context import SupervisorContext
from agy_actors._supervision.validation import check_name, check_supervisor
from agy_actors._supervisors.agent_kinds import AgentKinds
from agy_actors._supervisors.supervisor_ref import SupervisorRef

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors._agents.budget import Budget
    from agy_actors._supervision.owner_ref import OwnerRef

__all__ = ["Supervisor"]


class Supervisor(MadeForUsers, SupervisorActor):
    """Creates agents, restarts those that crash, and ends them all when it ends.

    Start it with `Supervisor.start(...)`, which returns a `SupervisorRef`.
    """

    _made_from = SupervisorContext
    _call_instead = (
        "`Supervisor.start(...)` starts one and returns its ref, and"
        " `supervisor.create_supervisor(...)` starts one below another"
    )
    _ref_type: ClassVar[type[OwnerRef]] = SupervisorRef

    @classmethod
    def start(  # the constructor's arguments, by name
        cls,
        *,
        name: str | None = None,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        backoff: Backoff | None = None,
        hang_timeout: float | None = 60.0,
        turn_spacing: float = 0.0,
        state_dir: str | Path | None = None,
        max_conversations_per_process: int | None = None,
        max_running_turns: int | None = None,
        budget: Budget | None = None,
        dotenv: bool = False,
    ) -> SupervisorRef:
        """Start a supervisor.

        Args:
            name: its name in logs: 1 to 100 letters, digits, spaces or any of ``. @ + _ -``, as
                for agents; `None` generates one.
            strategy: which children it restarts when one fails.
            max_restarts: how many restarts of a child it allows within `within` seconds.
            within: the window of `max_restarts`, in seconds.
            backoff: how long it waits before a restart; by default not at all after the first
                failure, then exponentially, with jitter.
            hang_timeout: the seconds for which the event loop of a child may be blocked, for
                example by a tool, before the child is replaced; `None` for no limit.
            turn_spacing: the minimum seconds between the starts of turns with the same API key.
            state_dir: the folder for conversations. An agent with the same name resumes its
                conversation in the next run. The folder is created with mode 0700 if it does not
                exist; if others can read an existing one, a WARNING is logged. `None` keeps
                conversations in a temporary folder that is removed when the supervisor ends.
            max_conversations_per_process: how many agents share a `localharness` process at most;
                `None` is `AGY_ACTORS_CONVERSATIONS_PER_PROCESS`, or 16. With 1, each agent has its
                own. Agents with MCP servers always have their own.
            max_running_turns: how many turns of all agents of this supervisor and of the
                supervisors below run at a time; further turns wait to start. `None` starts as many
                as the machine can handle. A turn's own time begins with its start; the `timeout` of
                an `ask` includes the wait. While a tool or a hook of a turn takes long, another
                turn may start, so that the first can wait for it.
            budget: limits the tokens of all turns below it; `None` for no limit. A turn that finds
                it used up raises `BudgetExceeded`, and is not started.
            dotenv: whether to read the nearest `.env` file, in the working directory or above,
                and to set the variables that the environment does not have, such as
                `GEMINI_API_KEY`, for the whole process. `AGY_ACTORS_DOTENV=0` disables it.

        Raises:
            InvalidConfig: an argument is invalid, or the `.env` file cannot be read. Nothing was
                started.
            AgentDeadError: the program's main thread has ended.
        """
        if interpreter_exit.is_ending():
            raise AgentDeadError(
                "no supervisor can be started: the program's main thread has ended"
            )
        check_supervisor(
            name=name,
            strategy=strategy,
            max_restarts=max_restarts,
            within=within,
            backoff=backoff,
            hang_timeout=hang_timeout,
        )
        max_conversations = max_conversations_per_process
        if max_conversations is None:
            max_conversations = conversations_per_process()
        directory = check_resources(
            turn_spacing=turn_spacing,
            state_dir=state_dir,
            max_conversations_per_process=max_conversations,
            max_running_turns=max_running_turns,
        )
        load_dotenv(dotenv)
        if name is None:
            name = f"supervisor-{current_runtime().number('supervisor')}"
        name = check_name(name)
        budgets = NO_BUDGETS.below(budget, f"supervisor {name!r}")
        backoff = backoff or Backoff()
        resources = AgentResources(
            save_dir=directory or make_private_temporary_folder(),
            durable=directory is not None,
            pace=PaceBoard(turn_spacing),
            slots=TurnSlots(max_running_turns),
            processes=None
            if max_conversations == 1
            else ProcessPool(
                name,
                max_conversations=max_conversations,
                grace=STOP_GRACE,
                start_timeout=start_timeout,
            ),
            spacing=turn_spacing,
            budgets=budgets,
        )
        ref = super().start(
            name=name,
            family=Family(
                strategy=strategy,
                limits=Limits(max_restarts=max_restarts, within=within),
                reset_after=backoff.reset_after,
            ),
            backoff=backoff,
            hang_timeout=hang_timeout,
            context=SupervisorContext(
                reporter=None, path="", hub=EventHub(), kinds=AgentKinds(resources)
            ),
        )
        return cast("SupervisorRef", ref)
