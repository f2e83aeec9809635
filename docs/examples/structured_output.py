"""Get data instead of text, as an instance of a pydantic model."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from pydantic import BaseModel

from agy_actors import Chat, InvalidOutput, Supervisor


class City(BaseModel):
    """The facts about a city."""

    name: str
    country: str
    population: int


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    response_schema=City,
)

with Supervisor.start() as supervisor:
    geographer = supervisor.create_agent(config, name="geographer")

    reply = geographer.ask(Chat("The largest city of Japan"))
    assert isinstance(reply.parsed, City)
    print(f"{reply.parsed.name} has {reply.parsed.population:,} inhabitants")

    try:
        geographer.ask(Chat("The largest city of the moon"))
    except InvalidOutput as error:
        print("no city:", error.text)
