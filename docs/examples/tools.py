"""Give an agent functions to call: plain ones, asynchronous ones, and methods."""

import asyncio
import os

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import AvailableTools, Chat, Supervisor


class Shop:
    """A stock of fruit; the agent calls its method `sell`."""

    def __init__(self) -> None:
        self.stock = {"apple": 3, "pear": 0}

    def sell(self, fruit: str) -> str:
        """Sells one piece of a fruit."""
        if not self.stock[fruit]:
            raise LookupError(f"no {fruit} is left")  # The model gets the error.
        self.stock[fruit] -= 1
        return f"sold one {fruit}"


async def price(fruit: str) -> float:
    """Returns the price of one piece of a fruit, in euros."""
    await asyncio.sleep(0)  # For example a request to a service.
    return {"apple": 0.5, "pear": 0.75}[fruit]


shop = Shop()
config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    tools=[price, shop.sell],
)

with Supervisor.start() as supervisor:
    clerk = supervisor.create_agent(config, name="clerk")
    reply = clerk.ask(Chat("I would like an apple and a pear. What do they cost?"))
    print("called:", ", ".join(f"{call.name}({call.args['fruit']})" for call in reply.tool_calls))
    print(reply.text)
    print("left:", shop.stock)
    print("tools:", *(t.name for t in clerk.ask(AvailableTools()) if t.source == "custom"))
