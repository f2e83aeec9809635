"""Read an answer as it comes: its text, all that happens, and only its beginning."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.types import Text, Thought

from agy_actors import Chat, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)

with Supervisor.start() as supervisor:
    teller = supervisor.create_agent(config, name="teller")

    for text in teller.stream(Chat("Tell a story of one sentence")):
        print(text, end="", flush=True)
    print()

    with teller.stream(Chat("Is 91 a prime number?")) as stream:
        for event in stream.events():
            match event:
                case Thought(text=thought):
                    print("thought:", thought)
                case Text(text=text):
                    print("text:", text)
        print("tokens:", usage.total_token_count if (usage := stream.result().usage) else "?")

    # Leaving the loop cancels the turn: the model is not paid for what nobody reads.
    for text in teller.stream(Chat("Count to a million")):
        print("It begins with", text)
        break
