"""Let one agent ask others: each is a tool of the next."""

import os

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import Chat, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)

with Supervisor.start() as supervisor:
    translator = supervisor.create_agent(
        config.model_copy(
            update={"system_instructions": "Translate what you are given to French."}
        ),
        name="translator",
    )
    critic = supervisor.create_agent(
        config.model_copy(update={"system_instructions": "Judge a text in three words."}),
        name="critic",
    )
    tools = [
        translator.as_tool("translate", "Translates a text to French.", timeout=60),
        critic.as_tool("judge", "Judges a text."),
    ]
    editor = supervisor.create_agent(config.model_copy(update={"tools": tools}), name="editor")

    # An agent that asks itself in this way, even indirectly, gets a DeadlockError.
    reply = editor.ask(Chat("Translate 'good morning', and have it judged"))
    print("asked:", ", ".join(str(call.name) for call in reply.tool_calls))
    print(reply.text)
