"""Streams with slow readers, closed streams, and people who answer late.

    python -m tests.soak.streams slow   [--tokens 20000]      # read at a tenth of its speed
    python -m tests.soak.streams closed [--repetitions 20]    # after three tokens
    python -m tests.soak.streams person [--seconds 10]        # asked by a policy

Each prints its measurements, and exits with 1 if anything was lost, out of order, unbounded or
late.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

import psutil
import typer
from google.antigravity.hooks import policy

from agy_actors import Chat, GetStatistics, IsIdle, Supervisor
from agy_actors.testing import ScriptedModel, call_tool, say
from benchmarks._failures import Failures, print_times

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity.types import ToolCall

    from agy_actors import AgentRef, ChatStream
    from agy_actors.testing import ModelRequest

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_TIMES_SLOWER = 10
_MORE_BYTES = 20_000_000
"""The additional memory that a slow reader may take. The unread text is 129 kB at most; the steps
in which it comes would take 600 MB."""

_LOOK_EVERY = 50  # The number of pieces between two measurements of the memory.
_SOON = 1.0
_PROMPT_QUERIES = 0.002


@app.command()
def slow(tokens: Annotated[int, typer.Option(min=100)] = 20_000) -> None:
    """Read a stream as fast as it comes, then another at a tenth of that speed."""
    failures = Failures()
    words = [f"t{number} " for number in range(tokens)]
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        model.when("go", say("".join(words), chunks=words))
        ref = supervisor.create_agent(model.openai_config())
        quick = _Read(ref, words, 0.0, failures)
        tenth = _Read(ref, words, quick.seconds * _TIMES_SLOWER, failures)
    for name, read in (("as fast as it comes", quick), ("at a tenth of that", tenth)):
        print(
            f"{name}: {read.pieces} pieces in {read.seconds:.1f} s, peak {read.peak / 1e6:.1f} MB"
            f" here and {read.harness_peak / 1e6:.1f} MB in the harness"
        )
    if tenth.peak - quick.peak > _MORE_BYTES:
        failures.add("memory grows with what a slow reader has not read")
    failures.finish()


class _Read:
    """The result of reading one stream."""

    def __init__(self, ref: AgentRef, words: list[str], seconds: float, failures: Failures) -> None:
        here = psutil.Process()
        harness = psutil.Process(ref.ask(GetStatistics()).harness_pid)
        self.peak = self.harness_peak = self.pieces = 0
        text = "".join(words)
        started = time.perf_counter()
        came: list[str] = []
        characters = 0
        stream: ChatStream = ref.stream(Chat("go", timeout=3600))
        for piece in stream:
            came.append(piece)
            characters += len(piece)
            if self.pieces % _LOOK_EVERY == 0:
                self.peak = max(self.peak, here.memory_info().rss)
                self.harness_peak = max(self.harness_peak, harness.memory_info().rss)
            self.pieces += 1
            due = started + seconds * characters / len(text)
            time.sleep(max(0.0, due - time.perf_counter()))
        self.seconds = time.perf_counter() - started
        if "".join(came) != text:
            failures.add("the pieces are not the text, in order")
        if stream.result().text != text:
            failures.add("the reply is not the text")


@app.command()
def closed(repetitions: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """Close a stream after three tokens, and wait until the model's connection is closed."""
    failures = Failures()
    times = []
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        model.when("long", say("word " * 10_000, delay=0.01))
        ref = supervisor.create_agent(model.openai_config())
        for number in range(repetitions):
            stream = ref.stream(Chat(f"long {number}"))
            _LEAVE[number % len(_LEAVE)](stream)
            left = time.perf_counter()
            gone = model.wait_for_disconnect(10.0)
            times.append(time.perf_counter() - left)
            if gone.prompt != f"long {number}":
                failures.add(f"the connection of {gone.prompt!r} went")
            if times[-1] > _SOON:
                failures.add(f"the connection went {times[-1]:.2f} s after {number} was closed")
    print_times("from the close to the end of the model's connection", times)
    failures.finish()


def _read_three(stream: ChatStream) -> None:
    for number, _ in enumerate(stream, 1):
        if number == 3:
            break


def _leave_context(stream: ChatStream) -> None:
    with stream:
        _read_three(stream)


def _cancel(stream: ChatStream) -> None:
    _read_three(stream)
    stream.cancel()


_LEAVE: tuple[Callable[[ChatStream], None], ...] = (_read_three, _leave_context, _cancel)


@app.command()
def person(seconds: Annotated[float, typer.Option(min=0.1)] = 10.0) -> None:
    """Let a policy's handler wait for a person who agrees, then for one who does not."""
    failures = Failures()
    for agrees in (True, False):
        opened = _ask_person(seconds, failures, agrees=agrees)
        print(f"the person {'agreed' if agrees else 'refused'}: the tool ran {opened} times")
        if opened != agrees:
            failures.add("the turn did not end as the person decided")
    failures.finish()


def _ask_person(seconds: float, failures: Failures, *, agrees: bool) -> int:
    asked = threading.Event()
    opened = 0

    def open_safe() -> str:
        """Open the safe."""
        nonlocal opened
        opened += 1
        return "gold"

    def decide(_: ToolCall) -> bool:
        asked.set()
        time.sleep(seconds)
        return agrees

    with ScriptedModel() as model, Supervisor.start() as supervisor:
        model.when("open", call_tool("open_safe"), times=1)
        model.when(_has_result, say("done"))
        ref = supervisor.create_agent(
            model.openai_config(
                tools=[open_safe], policies=[policy.ask_user("open_safe", handler=decide)]
            )
        )
        future = ref.ask(Chat("open"), block=False)
        asked.wait()
        times = []
        while not future.done():
            started = time.perf_counter()
            ref.ask(IsIdle())
            times.append(time.perf_counter() - started)
            time.sleep(0.01)
        median, _ = print_times(f"IsIdle, {len(times)} times while a person was asked", times)
        if median > _PROMPT_QUERIES:
            failures.add("the queries were delayed")
        if future.get().text != "done":
            failures.add("the turn did not continue")
    return opened


def _has_result(request: ModelRequest) -> bool:
    return request.messages[-1][0] == "tool"


if __name__ == "__main__":
    app()
