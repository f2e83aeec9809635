"""Tools, hooks, policies and triggers in one agent, through a crash."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from google.antigravity.hooks import hooks, policy
from google.antigravity.types import HookResult

from agy_actors import Chat, GetHistory, GetStatistics, WaitForIdle
from agy_actors.testing import ScriptedModel, call_tool, say
from tests.harnesses import PATIENCE, kill_harness, until

if TYPE_CHECKING:
    from google.antigravity.triggers import TriggerContext
    from google.antigravity.types import ToolCall

    from agy_actors import AgentRef, SupervisorRef


class Shop:
    """Everything that a configuration can have, and the results."""

    def __init__(self) -> None:
        self.sold: list[tuple[str, int]] = []
        self.seen: list[str] = []
        self.triggers_started = threading.Semaphore(0)
        self.news = threading.Event()

    def sell(self, article: str, count: int) -> str:
        """Sell articles."""
        self.sold.append((article, count))
        return f"sold {count}"

    async def give_away(self, article: str) -> str:
        """Give an article away."""
        self.sold.append((article, 0))
        return "given away"

    def settings(self) -> dict[str, Any]:
        @hooks.on_session_start  # type: ignore[untyped-decorator] # the SDK's
        def started() -> None:
            self.seen.append("started")

        @hooks.pre_turn  # type: ignore[untyped-decorator] # the SDK's
        async def before(prompt: Any) -> HookResult:
            self.seen.append(f"asked to {prompt}")
            return HookResult()

        @hooks.pre_tool_call_decide  # type: ignore[untyped-decorator] # the SDK's
        async def at_most_ten(call: ToolCall) -> HookResult:
            if call.name != "sell":
                return HookResult()
            return HookResult(modified_args={"count": min(call.args["count"], 10)})

        async def tell_news(ctx: TriggerContext) -> None:
            self.triggers_started.release()
            await asyncio.to_thread(self.news.wait)
            self.news.clear()
            await ctx.send("there is news")

        return {
            "tools": [self.sell, self.give_away],
            "hooks": [started, before, at_most_ten],
            "policies": [policy.deny("give_away", reason="MARK"), policy.allow_all()],
            "triggers": [tell_news],
        }


def have_a_day(model: ScriptedModel, agent: AgentRef, shop: Shop) -> list[str]:
    """Let the agent sell and give away, then get the news; return what the model received."""
    model.then(
        call_tool("sell", {"article": "pen", "count": 50}),
        call_tool("give_away", {"article": "ink"}),
        say("done"),
    )
    assert agent.ask(Chat("sell"), timeout=PATIENCE).text == "done"
    told = [result.output for result in model.requests[-1].tool_results[-2:]]
    reactions = count_reactions(agent)
    model.then(say("I see."))
    shop.news.set()
    # Not when the model is asked: the agent may learn of a trigger's turn later than that.
    until(lambda: count_reactions(agent) == reactions + 1)
    agent.ask(WaitForIdle(), timeout=PATIENCE)
    return told


def count_reactions(agent: AgentRef) -> int:
    return [step.content for step in agent.ask(GetHistory())].count("I see.")


def test_all_of_a_configuration_works_together_and_again_after_a_crash(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    shop = Shop()
    agent = supervisor.create_agent(model.openai_config(**shop.settings()))
    assert shop.triggers_started.acquire(timeout=PATIENCE)

    first = have_a_day(model, agent, shop)
    kill_harness(agent)
    assert shop.triggers_started.acquire(timeout=PATIENCE)
    second = have_a_day(model, agent, shop)

    for sold, refused in (first, second):
        assert "sold 10" in sold  # Of 50: a hook has changed the argument.
        assert "MARK" in refused
    assert shop.sold == [("pen", 10)] * 2
    # In any order: the harness reports a session's start at an unspecified time. A trigger's turn
    # has no such hook.
    assert sorted(shop.seen) == ["asked to sell"] * 2 + ["started"] * 2
    assert count_reactions(agent) == 2
    assert agent.ask(GetStatistics()).restarts == 1
