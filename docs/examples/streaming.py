"""Read an answer while it is generated: its text, all its events, and only its beginning."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.types import Text, Thought, ToolCall

from agy_actors import Chat, Supervisor


def factors(number: int) -> list[int]:
    """Returns the prime factors of a number."""
    return next(([n, *factors(number // n)] for n in range(2, number + 1) if number % n == 0), [])


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    tools=[factors],
)

with Supervisor.start() as supervisor:
    teller = supervisor.create_agent(config, name="teller")

    for text in teller.stream(Chat("Tell a story of one sentence")):
        print(text, end="", flush=True)
    print()

    with teller.stream(Chat("Is 91 a prime number?")) as stream:
        for event in stream.events():
            match event:
                case Thought(text=thought):  # If the model sends its thoughts.
                    print("thought:", thought)
                case ToolCall(name=name, args=args):
                    print("tool:", name, args)
                case Text(text=text):
                    print("text:", text)
        print("whole:", stream.result().text)

    # Leaving the loop cancels the turn.
    for text in teller.stream(Chat("Count to a million")):
        print("It begins with", text)
        break
