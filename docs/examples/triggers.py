"""Have something happen to an agent by itself: here by the clock."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.triggers import TriggerContext, every

from agy_actors import Chat, GetLastResponse, Supervisor, WaitForIdle, WaitForWakeup


async def check(context: TriggerContext) -> None:
    """Tell the agent something: it has a turn with it."""
    await context.send("Check the deployment status.")


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    triggers=[every(1.0, check)],
)

with Supervisor.start() as supervisor:
    operator = supervisor.create_agent(config, name="operator")
    if operator.ask(WaitForWakeup(timeout=30.0)):
        operator.ask(WaitForIdle())
        print("by itself:", operator.ask(GetLastResponse()))
    print("when asked:", operator.ask(Chat("What did you find?")).text)
