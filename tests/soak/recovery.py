"""Soak runs on the real harness: every ask must get its own answer, despite failures.

    python -m tests.soak.recovery errors  [--repetitions 200]   # errors of the service
    python -m tests.soak.recovery kills   [--repetitions 100]   # SIGKILL in a turn
    python -m tests.soak.recovery queries                       # queries during a turn
    python -m tests.soak.recovery shared  [--repetitions 20]    # SIGKILL of a process of 16

Each prints its counts and measurements, and exits with 1 if anything was lost, mixed up, empty or
late.
"""

from __future__ import annotations

import contextlib
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
    GetHistory,
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
from benchmarks._failures import Failures, print_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import AgentRef

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_STATUSES = (401, 429, 500, 503)
_TURN_TIMEOUT = 5.0  # Below the harness's own patience: it retries 429 and 503 for minutes.
_LATE = 10.0  # The seconds after the turn's timeout that a cancellation may take.


@app.command()
def errors(repetitions: Annotated[int, typer.Option(min=1)] = 200) -> None:
    """Break a turn by a lasting 401, 429, 500 or 503, and take three more, on both protocols."""
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
    quota = status == 429
    reply: Reply = quota_error(retry_after=12.0) if quota else http_error(status)
    model.when(rf"^broken-{number}$", reply)


def _ask_broken(ref: AgentRef, status: int, number: int, failures: Failures) -> str:
    started = time.perf_counter()
    try:
        reply = ref.ask(Chat(f"broken-{number}", timeout=_TURN_TIMEOUT))
    except ModelError as error:
        if error.status != status:
            failures.add(f"{status} came as {error!r}")
        if isinstance(error, QuotaExceeded) and error.retry_after != 12.0:
            failures.add(f"retry_after is {error.retry_after} in {error!r}")
        if status == 429 and not isinstance(error, QuotaExceeded):
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
    """After five turns, kill the agent's harness during the sixth, and ask the seventh."""
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
    if turns != 7:
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


_SHARING = 16
_IN_TURNS = 8
_NEIGHBOURS = 4
_BEFORE = 1.0  # Seconds for which only the neighbours use the cores.


@app.command()
def shared(repetitions: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """Kill a process that sixteen agents share, eight of them in a turn, and observe another
    one."""
    failures = Failures()
    recoveries: list[float] = []
    interrupted: dict[str, int] = {}
    neighbours = _Neighbours()
    with ScriptedModel(keep=100) as model:
        for number in range(repetitions):
            # New agents each time, because recovered ones may be on the other process.
            with Supervisor.start(max_conversations_per_process=_SHARING) as supervisor:
                agents = [
                    supervisor.create_agent(model.openai_config(), name=f"agent-{index}")
                    for index in range(_SHARING + _NEIGHBOURS)
                ]
                sharing, others = agents[:_SHARING], agents[_SHARING:]
                for ref in sharing:
                    _expect(ref, f"before-{number}", failures)
                with neighbours.at_work(others):
                    recoveries.append(_kill_shared(sharing, model, number, interrupted, failures))
                for ref in others:
                    if ref.ask(GetStatistics()).restarts:
                        failures.add(f"{ref}, on another process, was restarted")
    for error in neighbours.errors:
        failures.add(f"a neighbour on another process saw {error!r}")
    print(f"{repetitions} kills; the {_IN_TURNS} turns each ended as {interrupted}")
    print_times(f"from the kill until all {_SHARING} have answered", recoveries)
    print_times("a neighbour's turn, before the kills", neighbours.before)
    print_times("a neighbour's turn, while others recovered", neighbours.times)
    failures.finish()


def _kill_shared(
    agents: list[AgentRef],
    model: ScriptedModel,
    number: int,
    interrupted: dict[str, int],
    failures: Failures,
) -> float:
    gate = threading.Event()
    model.when(rf"^held-{number}$", say("held", gate=gate), times=_IN_TURNS)
    turns = [ref.ask(Chat(f"held-{number}"), block=False) for ref in agents[:_IN_TURNS]]
    while sum(request.prompt == f"held-{number}" for request in model.requests) < _IN_TURNS:
        time.sleep(0.005)
    (pid,) = {ref.ask(GetStatistics()).harness_pid for ref in agents}
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed = time.perf_counter()
    answers = [ref.ask(Chat(f"after-{number}"), block=False) for ref in agents]
    for ref, answer in zip(agents, answers, strict=True):
        if (text := answer.get(timeout=30.0).text) != f"echo: after-{number}":
            failures.add(f"{ref} answered {text!r}")
    seconds = time.perf_counter() - killed
    gate.set()
    for turn in turns:
        try:
            outcome = turn.get(timeout=30.0).text
        except TurnError as error:
            outcome = type(error).__name__
        interrupted[outcome] = interrupted.get(outcome, 0) + 1
    for ref in agents:
        said = [step.content for step in ref.ask(GetHistory())]
        if f"before-{number}" not in said:
            failures.add(f"{ref} has lost its history")
    return seconds


class _Neighbours:
    """Agents on another process, each of which takes one turn after another."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.times: list[float] = []
        self.errors: list[BaseException] = []

    @contextlib.contextmanager
    def at_work(self, agents: list[AgentRef]) -> Iterator[None]:
        over, disturbed = threading.Event(), threading.Event()

        def work(ref: AgentRef) -> None:
            while not over.is_set():
                self._ask(ref, self.times if disturbed.is_set() else self.before)

        threads = [threading.Thread(target=work, args=(ref,)) for ref in agents]
        for thread in threads:
            thread.start()
        over.wait(_BEFORE)
        disturbed.set()
        yield
        over.set()
        for thread in threads:
            thread.join()

    def _ask(self, ref: AgentRef, times: list[float]) -> None:
        started = time.perf_counter()
        try:
            ref.ask(Chat("neighbour"), timeout=30.0)
        except Exception as error:  # noqa: BLE001 (it is counted)
            self.errors.append(error)
        times.append(time.perf_counter() - started)


if __name__ == "__main__":
    app()
