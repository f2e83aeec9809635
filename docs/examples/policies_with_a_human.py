"""Ask a person before a tool runs. Meanwhile the agent answers other messages."""

import os

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.hooks import policy

from agy_actors import Chat, ConfirmationAsked, Event, Supervisor, confirmations


def delete(file: str) -> str:
    """Deletes a file."""
    return f"{file} is gone"  # It would be.


def ask_person(event: Event) -> None:
    """Answer a confirmation; called on its own thread, so it may wait for a person."""
    if isinstance(event, ConfirmationAsked):
        call = event.tool_call
        answer = input(f"{event.agent} wants to {call.name} {call.args['file']}. Yes or no?\n")
        event.reply.set(answer == "yes")


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    tools=[delete],
    policies=[
        policy.ask_user("delete", handler=confirmations(timeout=60, default=False)),
        policy.allow_all(),
    ],
)

with Supervisor.start() as supervisor:
    supervisor.subscribe(ask_person)
    janitor = supervisor.create_agent(config, name="janitor")
    print(janitor.ask(Chat("Delete a.txt")).text)
    print(janitor.ask(Chat("Delete b.txt")).text)
