"""Ask an agent a question, and another one that refers to the answer."""

import os

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import Chat, GetTotalUsage, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)

with Supervisor.start() as supervisor:
    poet = supervisor.create_agent(config, name="poet")

    print(poet.ask(Chat("Write a haiku about rain")).text)
    print(poet.ask(Chat("Now about snow")).text)

    print("tokens:", poet.ask(GetTotalUsage()).total_token_count)
