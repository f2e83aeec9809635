"""Keep a conversation from run to run: ``python persistence.py WHAT TO SAY``."""

import os
import sys

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import Chat, GetTurnCount, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)

with Supervisor.start(state_dir="conversations") as supervisor:
    diary = supervisor.create_agent(config, name="diary")  # The same name: the same conversation.
    print("turns before:", diary.ask(GetTurnCount()))
    print(diary.ask(Chat(" ".join(sys.argv[1:]))).text)  # Delete() would remove it.
