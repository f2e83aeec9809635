"""Share a list of questions between three equal agents."""

import os

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)
countries = ["France", "Japan", "Kenya", "Peru", "Norway", "Nepal"]
questions = [f"What is the capital of {country}? Answer in one word." for country in countries]

with Supervisor.start() as supervisor, supervisor.create_pool(config, size=3) as pool:
    for country, reply in zip(countries, pool.map(questions), strict=True):  # In order.
        print(f"{country}: {reply.text}")

    for future in pool.as_completed(questions):  # In order of completion.
        print(future.get().text, end=" ", flush=True)
    print()
