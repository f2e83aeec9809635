"""Let an agent act when something happens: here when a letter comes."""

import os
from queue import SimpleQueue
from threading import Event

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.triggers import TriggerContext, every

from agy_actors import Chat, Supervisor

letters: SimpleQueue[str] = SimpleQueue()
alerted = Event()


async def check(context: TriggerContext) -> None:
    """Send new letters to the agent."""
    while not letters.empty():
        await context.send(f"A letter came: {letters.get()}")


def alert(problem: str) -> str:
    """Tells somebody of a problem."""
    print("alert:", problem)
    alerted.set()
    return "told"


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    tools=[alert],
    triggers=[every(0.2, check)],  # Every 0.2 s, until the agent ends.
)

with Supervisor.start() as supervisor:
    secretary = supervisor.create_agent(config, name="secretary")
    letters.put("The printer is on fire.")  # From any thread.
    alerted.wait(60)
    print(secretary.ask(Chat("What happened?")).text)
