"""Kill an agent's process: the caller still gets its reply."""

import os
import signal

from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import AgentCrashed, AgentReady, Chat, Event, GetStatistics, Supervisor


def show(event: Event) -> None:
    """Receive events, on a separate thread."""
    if isinstance(event, AgentCrashed | AgentReady):
        print(f"{type(event).__name__}: {event.agent}", flush=True)


config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)

with Supervisor.start() as supervisor:
    supervisor.subscribe(show)
    cat = supervisor.create_agent(config, name="cat")
    print(cat.ask(Chat("Remember the number 7")).text)

    pid = cat.ask(GetStatistics()).harness_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    print(cat.ask(Chat("Which number?")).text)  # The same ref, and the same conversation.
    print("restarts:", cat.ask(GetStatistics()).restarts)
