"""A turn through an actor against the same turn on the raw SDK, alternating in one run.

    python -m benchmarks.turn [--rounds N] [--turns N]

Both use one `localharness` each and the same loopback model, whose answer comes at once,
so that what is measured is what the actor adds.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from google.antigravity import Agent

from agy_actors import Chat, Supervisor
from agy_actors.testing import ScriptedModel

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["run"]


class RawAgent:
    """The raw SDK, used from a thread: an agent on a loop thread, asked by futures."""

    def __init__(self, config: AgentConfig) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="raw-sdk")
        self._thread.start()
        self._agent = Agent(config)
        self._run(self._agent.__aenter__())

    def turn(self, prompt: str) -> tuple[str, float]:
        """Have a turn, and return its text and the seconds it took on the SDK's own loop."""
        answer: tuple[str, float] = self._run(self._turn(prompt))
        return answer

    async def _turn(self, prompt: str) -> tuple[str, float]:
        started = time.perf_counter()
        response = await self._agent.chat(prompt)
        text = await response.text()
        return text, time.perf_counter() - started

    def close(self) -> None:
        """End the agent and its loop."""
        self._run(self._agent.__aexit__(None, None, None))  # type: ignore[no-untyped-call]
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def run(rounds: int = 15, turns: int = 10) -> list[tuple[str, float, float, float]]:
    """Measure, and return (what, the raw SDK's seconds, ours, ratio of medians).

    The raw SDK is timed on its own loop, with no thread to cross; ours is timed in the
    asking thread, both crossings included.
    """
    raw_times: list[float] = []
    our_times: list[float] = []
    with (
        ScriptedModel() as model,
        tempfile.TemporaryDirectory() as folder,
        Supervisor.start() as supervisor,
    ):
        for _ in range(rounds):
            # Fresh agents for each round: a turn costs more the longer the conversation.
            raw = RawAgent(model.openai_config(save_dir=folder))
            ref = supervisor.create_agent(model.openai_config())
            try:
                raw.turn("warm up")
                ref.ask(Chat("warm up"))
                for number in range(turns):
                    raw_times.append(raw.turn(f"prompt {number}")[1])
                    started = time.perf_counter()
                    ref.ask(Chat(f"prompt {number}"))
                    our_times.append(time.perf_counter() - started)
            finally:
                raw.close()
                supervisor.shutdown_agent(ref)
    theirs, ours = statistics.median(raw_times), statistics.median(our_times)
    return [("one turn", theirs, ours, ours / theirs)]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Fresh agents of each kind.")] = 15,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each agent.")] = 10,
) -> None:
    """Print the medians and their ratio."""
    for what, theirs, ours, ratio in run(rounds, turns):
        print(
            f"{what:20} raw SDK {theirs * 1e3:8.2f} ms   agy_actors {ours * 1e3:8.2f} ms"
            f"   ratio {ratio:.3f}"
        )


if __name__ == "__main__":
    typer.run(main)
