"""Soak runs on the real harness: does every ask get its own answer, whatever breaks?

    python -m benchmarks.recovery errors  [--repetitions 200]   # F1 to F3 of the SDK
    python -m benchmarks.recovery kills   [--repetitions 100]   # F6: SIGKILL mid-turn
    python -m benchmarks.recovery queries                       # queries during a turn

Each prints what it counted and measured, and exits with 1 if anything was lost, crossed,
empty or late.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from agy_actors import (
    AgentDeadError,
    Cancel,
    Chat,
    GetStatistics,
    GetTotalUsage,
    GetTurnCount,
    IsIdle,
    ModelError,
    QuotaExceeded,
    Supervisor,
    TurnCancelled,
    TurnError,
)
from agy_actors.testing import Reply, ScriptedModel, http_error, quota_error, say
from benchmarks._soak import Failures, print_times

if TYPE_CHECKING:
    from agy_actors import AgentRef

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_STATUSES = (401, 429, 500, 503)
_TURN_TIMEOUT = 5.0  # Below the harness's own patience: it retries 429 and 503 for minutes.
_LATE = 10.0  # Beyond the turn's timeout, as much as a turn may take to be cancelled.


@app.command()
def errors(repetitions: Annotated[int, typer.Option(min=1)] = 200) -> None:
    """Break a turn by 401, 429, 500, 503, for good, and have three more, on both protocols."""
    failures = Failures()
    outcomes: dict[str, int] = {}
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        agents = {
            protocol: supervisor.create_agent(config(), name=protocol)
            for protocol, config in (
                ("openai", model.openai_config),
                ("gemini", model.gemini_config),
            )
        }
        started = time.perf_counter()
        for number in range(repetitions):
            protocol = ("openai", "gemini")[number % 2]
            status = _STATUSES[number // 2 % len(_STATUSES)]
            _break_once(model, status, number)
            kind = _ask_broken(agents[protocol], status, number, failures)
            outcomes[f"{protocol} {status} {kind}"] = (
                outcomes.get(f"{protocol} {status} {kind}", 0) + 1
            )
            for turn in range(3):
                _expect(agents[protocol], f"healthy-{number}-{turn}", failures)
    took = time.perf_counter() - started
    print(f"{repetitions} broken turns, {3 * repetitions} after them, {took:.1f} s")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {count:4} {outcome}")
    failures.finish()


def _break_once(model: ScriptedModel, status: int, number: int) -> None:
    quota = status == 429  # noqa: PLR2004 (Too Many Requests)
    reply: Reply = quota_error(retry_after=12.0) if quota else http_error(status)
    model.when(rf"^broken-{number}$", reply)


def _ask_broken(ref: AgentRef, status: int, number: int, failures: Failures) -> str:
    started = time.perf_counter()
    try:
        reply = ref.ask(Chat(f"broken-{number}", timeout=_TURN_TIMEOUT))
    except ModelError as error:
        if error.status != status:
            failures.add(f"{status} came as {error!r}")
        if isinstance(error, QuotaExceeded) and error.retry_after != 12.0:  # noqa: PLR2004
            failures.add(f"retry_after is {error.retry_after} in {error!r}")
        if status == 429 and not isinstance(error, QuotaExceeded):  # noqa: PLR2004
            failures.add(f"429 came as {error!r}")
        return type(error).__name__
    except (TurnError, AgentDeadError) as error:
        failures.add(f"{status} came as {error!r}")
        return type(error).__name__
    else:
        failures.add(f"{status} came as the reply {reply.text!r}")
        return "reply"
    finally:
        if time.perf_counter() - started > _TURN_TIMEOUT + _LATE:
            failures.add(f"{status} came {time.perf_counter() - started:.1f} s late")


def _expect(ref: AgentRef, prompt: str, failures: Failures) -> None:
    try:
        text = ref.ask(Chat(prompt, timeout=30.0)).text
    except (TurnError, AgentDeadError) as error:
        failures.add(f"{prompt} came as {error!r}")
        return
    if text != f"echo: {prompt}":
        failures.add(f"{prompt} was answered {text!r}")


@app.command()
def kills(repetitions: Annotated[int, typer.Option(min=1)] = 100) -> None:
    """Kill the harness of an agent with five turns during the sixth, and ask the seventh."""
    failures = Failures()
    recoveries: list[float] = []
    sixths: dict[str, int] = {}
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        for number in range(repetitions):
            ref = supervisor.create_agent(model.openai_config(), name=f"agent-{number}")
            model.reset()
            for turn in range(1, 6):
                _expect(ref, f"turn-{turn}", failures)
            gate = threading.Event()
            model.when(r"^turn-6$", say("one two three", gate=gate), say("six"))
            stream = ref.stream(Chat("turn-6"))
            next(iter(stream))  # It streams now.
            pid = ref.ask(GetStatistics()).harness_pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            killed = time.perf_counter()
            try:
                outcome = stream.result(30.0).text
            except TurnError as error:
                outcome = type(error).__name__
            sixths[outcome] = sixths.get(outcome, 0) + 1
            _expect(ref, "turn-7", failures)
            recoveries.append(time.perf_counter() - killed)
            gate.set()
            _check_memory(ref, model, failures)
            supervisor.shutdown_agent(ref)
    print(f"{repetitions} kills; the sixth turn ended as {sixths}")
    print_times("from the kill to the seventh answer", recoveries)
    failures.finish()


def _check_memory(ref: AgentRef, model: ScriptedModel, failures: Failures) -> None:
    request = model.requests[-1]
    said = [text for role, text in request.messages if role == "user"]
    for turn in range(1, 6):
        count = sum(f"turn-{turn}" in text for text in said)
        if count != 1:
            failures.add(f"turn {turn} is {count} times in the model's request")
    turns = ref.ask(GetTurnCount())
    if turns != 7:  # noqa: PLR2004
        failures.add(f"{turns} turns counted, not 7")
    usage = ref.ask(GetTotalUsage()).total_token_count or 0
    if usage <= 0:
        failures.add("no tokens counted")


@app.command()
def queries(asks: Annotated[int, typer.Option(min=1)] = 1000) -> None:
    """Ask IsIdle while a turn streams for ten seconds, then cancel it."""
    failures = Failures()
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        ref = supervisor.create_agent(model.openai_config())
        model.when(r"^long$", say("word " * 1000, delay=0.01))
        stream = ref.stream(Chat("long"))
        events = iter(stream)
        next(events)
        times = []
        for _ in range(asks):
            started = time.perf_counter()
            if ref.ask(IsIdle()):
                failures.add("idle during a turn")
            times.append(time.perf_counter() - started)
        print_times(f"IsIdle, {asks} times during a turn", times)
        if not ref.ask(Cancel()):
            failures.add("no turn to cancel")
        started = time.perf_counter()
        try:
            stream.result(10.0)
            failures.add("the turn was not cancelled")
        except TurnCancelled:
            print(f"Cancel ended the turn in {(time.perf_counter() - started) * 1e3:.1f} ms")
        started = time.perf_counter()
        _expect(ref, "next", failures)
        print(f"the next turn took {(time.perf_counter() - started) * 1e3:.1f} ms")
    failures.finish()


if __name__ == "__main__":
    app()
