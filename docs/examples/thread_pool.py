"""Ask one agent per topic from many threads, with timeouts, and collect the replies."""

import os
from concurrent.futures import ThreadPoolExecutor

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import AgyActorsError, Chat, Supervisor, as_completed

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)
topics = ["rivers", "stars", "bread"]

with Supervisor.start() as supervisor, ThreadPoolExecutor() as threads:
    agents = {topic: supervisor.create_agent(config, name=topic) for topic in topics}

    def explain(topic: str) -> str:
        """Ask an agent, on any thread. Errors are ordinary exceptions."""
        try:
            return agents[topic].ask(Chat(f"One sentence about {topic}"), timeout=60).text
        except AgyActorsError as error:
            return f"({error})"

    for topic, text in zip(topics, threads.map(explain, topics), strict=True):
        print(f"{topic}: {text}")

    # Without threads: with futures.
    futures = [agent.ask(Chat("And another one"), block=False) for agent in agents.values()]
    print(sorted(future.get().text for future in as_completed(futures, timeout=60)))
