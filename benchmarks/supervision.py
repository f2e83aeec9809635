"""Soak runs of supervision: does what befalls one agent, key or member stay its own affair?

    python -m benchmarks.supervision hangs   [--agents 8] [--hang-timeout 2.0] [--repetitions 5]
    python -m benchmarks.supervision quotas  [--seconds 20] [--agents 4]
    python -m benchmarks.supervision pool    [--prompts 1000] [--size 4] [--kill-every 20]
    python -m benchmarks.supervision endless [--prompts 100000]

The first three run on the real harness. Each prints what it counted and measured, and exits
with 1 if a claim of its does not hold.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import signal
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import psutil
import typer
from google.antigravity import AgentConfig
from google.antigravity import types as sdk
from google.antigravity.connections.connection import Connection, ConnectionStrategy

from agy_actors import (
    AgentDeadError,
    AgyActorsError,
    Backoff,
    Chat,
    GetStatistics,
    QuotaExceeded,
    Supervisor,
    TurnError,
    TurnInterrupted,
)
from agy_actors.testing import ScriptedModel, call_tool, quota_error, say
from benchmarks._soak import Failures, print_times

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from agy_actors import AgentRef, PoolRef, SupervisorRef
    from agy_actors.testing import ModelRequest

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_THINKING = 0.2
"""Seconds before the model's first word: less than most real ones take. Without it the agents
would want more of the processor than there is, and how they share that would be measured."""


_TIMEOUT = 30.0
"""Seconds that a turn has which nothing befalls, and what else must happen. Arbitrary; only a
run that fails waits for so long."""


# Agents that are asked all the time.


class _Turn(NamedTuple):
    prompt: str
    started: float
    ended: float
    outcome: str | AgyActorsError
    """The answer, or the error."""

    @property
    def took(self) -> float:
        return self.ended - self.started


def _ask(ref: AgentRef, prompt: str, timeout: float = _TIMEOUT) -> _Turn:
    outcome: str | AgyActorsError
    started = time.perf_counter()
    try:
        outcome = ref.ask(Chat(prompt, timeout=timeout)).text
    except (TurnError, AgentDeadError) as error:
        outcome = error
    return _Turn(prompt, started, time.perf_counter(), outcome)


@contextlib.contextmanager
def _asked(refs: Sequence[AgentRef], timeout: float = _TIMEOUT) -> Iterator[list[_Turn]]:
    """Have each agent asked one turn after another, from a thread each, during the block.

    The list has all turns when the block has been left.
    """
    over = threading.Event()
    turns: list[_Turn] = []

    def keep_asking(ref: AgentRef) -> None:
        number = 0
        while not over.is_set():
            turns.append(_ask(ref, f"prompt {number}", timeout))
            number += 1

    with ThreadPoolExecutor(max(1, len(refs))) as threads:
        askers = [threads.submit(keep_asking, ref) for ref in refs]
        try:
            yield turns
        finally:
            over.set()
    for asker in askers:
        asker.result()


def _check_answers(turns: Sequence[_Turn], failures: Failures) -> None:
    for turn in turns:
        if turn.outcome != f"echo: {turn.prompt}":
            failures.add(f"{turn.prompt!r} came as {turn.outcome!r}")


def _slow_model() -> ScriptedModel:
    answer = say(lambda request: f"echo: {request.prompt}", first_delay=_THINKING)
    return ScriptedModel(answer, keep=1)


# Hangs.

_BACK_WITHIN = 1.0
"""Seconds after its `hang_timeout` within which an agent answers again."""

_SLOWER = 1.25
"""How much slower the others' median turn may be for "no delay". The hanging agent costs them
nothing; the rest is the noise of a machine that others use, too."""


class _Hang(NamedTuple):
    noticed: float
    """Seconds until the turn that hung was answered with its error."""
    recovered: float
    """Seconds until the next turn was answered."""


@app.command()
def hangs(
    agents: Annotated[int, typer.Option(min=2)] = 8,
    hang_timeout: Annotated[float, typer.Option(min=0.1)] = 2.0,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Block the loop of one agent of a group by its own tool, while the others have turns."""
    failures = Failures()
    seen: list[_Hang] = []
    times: dict[bool, list[float]] = {False: [], True: []}
    with _slow_model() as model, Supervisor.start(hang_timeout=hang_timeout) as supervisor:
        model.when(r"^block$", call_tool("block"))
        model.when(r"^next$", say("echo: next"))  # At once: what it thinks is no recovery.
        for number in range(repetitions):
            # In turns, so that what else the machine does weighs on both.
            for hanging in (False, True) if number % 2 else (True, False):
                group = _Group(model, supervisor, agents, failures)
                turns = group.hang(seen) if hanging else group.stay_calm(hang_timeout)
                group.end()
                _check_answers(turns, failures)
                # As many of either kind from the beginning of a conversation: a turn costs
                # the harness the more the longer that is.
                first = min(turn.started for turn in turns)
                times[hanging] += [t.took for t in turns if t.started - first < hang_timeout]
    print(f"{repetitions} hangs of one of {agents} agents, hang_timeout {hang_timeout:g} s")
    print_times("from the hang to its turn's error", [hang.noticed for hang in seen])
    print_times(
        "from the hang to the next answer of the same ref", [hang.recovered for hang in seen]
    )
    calm = print_times(f"the others' turns while nothing hung ({len(times[False])})", times[False])
    hung = print_times(f"the others' turns during a hang ({len(times[True])})", times[True])
    median, p99 = (during / before for during, before in zip(hung, calm, strict=True))
    print(f"ratio of the medians {median:.3f}, of the p99s {p99:.3f}")
    net = (hung[0] - _THINKING) / (calm[0] - _THINKING)
    print(f"ratio of the medians without the {_THINKING * 1e3:g} ms that the model takes {net:.3f}")
    for hang in seen:
        if hang.recovered > hang_timeout + _BACK_WITHIN:
            failures.add(f"an agent that hung answered again after {hang.recovered:.2f} s")
    if median > _SLOWER:
        failures.add(f"a hang slowed the others down, {median:.3f} times")
    failures.finish()


class _Group:
    """Some agents, of which one may hang."""

    def __init__(
        self, model: ScriptedModel, supervisor: SupervisorRef, size: int, failures: Failures
    ) -> None:
        self._supervisor = supervisor
        self._failures = failures
        self._began: list[float] = []
        self._begun = threading.Event()

        async def block() -> str:
            """Block."""
            self._began.append(time.perf_counter())
            self._begun.set()
            # No thread is joined that runs this: an agent's are daemons, which end with the
            # program.
            time.sleep(3600)  # noqa: ASYNC251 (what must not be done, done)
            return "awake"

        self._one = supervisor.create_agent(model.openai_config(tools=[block]))
        self._others = [supervisor.create_agent(model.openai_config()) for _ in range(size - 1)]
        _check_answers([_ask(ref, "warm up") for ref in (self._one, *self._others)], failures)

    def stay_calm(self, seconds: float) -> list[_Turn]:
        """Have the others asked for some seconds, and return their turns."""
        with _asked(self._others) as turns:
            time.sleep(seconds)
        return turns

    def hang(self, seen: list[_Hang]) -> list[_Turn]:
        """Have the others asked until the one that hangs is back, and return their turns."""
        blocked = self._one.ask(Chat("block"), block=False)
        noticed: list[float] = []
        blocked.add_done_callback(lambda _: noticed.append(time.perf_counter()))
        if not self._begun.wait(_TIMEOUT):
            raise RuntimeError("the tool was not called")
        with _asked(self._others) as turns:
            answer = _ask(self._one, "next")
        _check_answers([answer], self._failures)
        try:
            self._failures.add(f"the turn that hung was answered {blocked.get(timeout=_TIMEOUT)!r}")
        except TurnInterrupted:
            seen.append(_Hang(noticed[0] - self._began[0], answer.ended - self._began[0]))
        except AgyActorsError as error:
            self._failures.add(f"the turn that hung came as {error!r}")
        return turns

    def end(self) -> None:
        """End all agents of the group."""
        for ref in (self._one, *self._others):
            self._supervisor.shutdown_agent(ref)


# Quotas.

_ROUNDS = 4
"""How often each phase comes: noise is to weigh on all of them."""

_FREE, _OTHER = "key-that-is-free", "key-of-the-others"
_PATIENCE = 1.0  # Seconds that a turn of a refused key has: the harness itself retries for long.
_RETRY_AFTER = 0.5  # Below the patience, so that askers wait for it and are refused again.
_UNDISTURBED = 0.95
"""What a free key must reach of what it reaches while the other is silent: the claim is "the
same", less the noise of the machine."""


class _Phase(enum.Enum):
    SILENT = "is silent"
    REFUSED = "is at its quota"
    ANSWERED = "is answered"


@app.command()
def quotas(
    seconds: Annotated[float, typer.Option(min=1, help="Of each kind of phase.")] = 20.0,
    agents: Annotated[int, typer.Option(min=1, help="Of each key.")] = 4,
) -> None:
    """Let the quota of one of two API keys be used up, and time the turns of the other."""
    failures = Failures()
    rates: dict[_Phase, list[float]] = {phase: [] for phase in _Phase}
    with _slow_model() as model, Supervisor.start() as supervisor:
        keys = _Keys(model, supervisor, agents, failures)
        phases = list(_Phase)
        for number in range(_ROUNDS):
            # Another order each time, so that no phase is always after the same other.
            order = phases[number % 3 :] + phases[: number % 3]
            for phase in order if number % 2 else reversed(order):
                rates[phase].append(keys.measure(phase, seconds / _ROUNDS))
    means = {phase: statistics.mean(rates[phase]) for phase in _Phase}
    print(f"{_ROUNDS} rounds, {seconds:g} s of each phase, 2 keys of {agents} agents")
    for phase, mean in means.items():
        share = mean / means[_Phase.SILENT]
        each = ", ".join(f"{rate:.2f}" for rate in rates[phase])
        print(
            f"  the free key while the other {phase.value:15} {mean:6.2f} turns/s"
            f"   {share:.3f}   ({each})"
        )
    print(f"{keys.refused} turns of the other ended in QuotaExceeded while it was at its quota")
    if means[_Phase.REFUSED] < _UNDISTURBED * means[_Phase.SILENT]:
        failures.add("a key at its quota slowed the other one down")
    if not keys.refused:
        failures.add("no turn met the quota")
    failures.finish()


class _Keys:
    """Two API keys, one of which the model refuses for its quota when told to."""

    def __init__(
        self, model: ScriptedModel, supervisor: SupervisorRef, agents: int, failures: Failures
    ) -> None:
        self._model = model
        self._supervisor = supervisor
        self._agents = agents
        self._failures = failures
        self._exhausted = threading.Event()
        self.refused = 0
        model.when(self._refuses, quota_error(retry_after=_RETRY_AFTER))

    def _refuses(self, request: ModelRequest) -> bool:
        return self._exhausted.is_set() and request.headers.get("x-goog-api-key") == _OTHER

    def measure(self, phase: _Phase, seconds: float) -> float:
        """Return the turns per second of the free key in a phase.

        Its agents are fresh each time: a turn costs the harness the more the longer the
        conversation is.
        """
        with self._agents_of(_OTHER) as others, self._agents_of(_FREE) as free:
            disturbing = [] if phase is _Phase.SILENT else others
            refusing = phase is _Phase.REFUSED
            if refusing:
                self._exhausted.set()
            with _asked(disturbing, _PATIENCE if refusing else _TIMEOUT) as others_turns:
                if refusing:
                    self._wait_for_hold()
                with _asked(free) as turns:
                    started = time.perf_counter()
                    time.sleep(seconds)
            self._exhausted.clear()
        _check_answers(turns, self._failures)
        if refusing:
            self._check_refusals(others_turns)
        else:
            _check_answers(others_turns, self._failures)
        return sum(_share(turn, started, started + seconds) for turn in turns) / seconds

    @contextlib.contextmanager
    def _agents_of(self, key: str) -> Iterator[list[AgentRef]]:
        config = self._model.gemini_config(api_key=key)
        refs = [self._supervisor.create_agent(config) for _ in range(self._agents)]
        # The first turns also wait for the end of a hold that the phase before left behind.
        _check_answers([_ask(ref, "warm up") for ref in refs], self._failures)
        yield refs
        for ref in refs:
            self._supervisor.shutdown_agent(ref)

    def _wait_for_hold(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while not self._supervisor.pace():
            if time.monotonic() > deadline:
                raise RuntimeError("the key was not held back")
            time.sleep(0.01)

    def _check_refusals(self, turns: Sequence[_Turn]) -> None:
        for turn in turns:
            if isinstance(turn.outcome, QuotaExceeded):
                self.refused += 1
            else:
                self._failures.add(f"the quota came as {turn.outcome!r}")


def _share(turn: _Turn, begin: float, end: float) -> float:
    """Return which share of a turn was between two times."""
    return max(0.0, min(turn.ended, end) - max(turn.started, begin)) / turn.took


# A pool whose members are killed.


@app.command()
def pool(
    prompts: Annotated[int, typer.Option(min=1)] = 1000,
    size: Annotated[int, typer.Option(min=1)] = 4,
    kill_every: Annotated[int, typer.Option(min=1, help="Replies from kill to kill.")] = 20,
    seed: int = 0,
) -> None:
    """Have a pool answer prompts while the harness of one member after another is killed."""
    failures = Failures()
    draw = random.Random(seed)  # noqa: S311 (nothing secret is drawn)
    kills = 0
    asked = [f"prompt {number}" for number in range(prompts)]
    # No wait between restarts and no end of them: the kills are many, and none of them is
    # the sign of a member that cannot live.
    patient = Backoff(wait=lambda _: 0.0)
    with ScriptedModel(keep=1) as model, Supervisor.start(backoff=patient) as supervisor:
        workers = supervisor.create_pool(model.openai_config(), size, max_restarts=prompts)
        started = time.perf_counter()
        answered = 0
        replies: Iterator[Any] = workers.map(asked, return_exceptions=True)
        for reply in replies:
            prompt = asked[answered] if answered < prompts else None
            answered += 1
            if getattr(reply, "text", None) != f"echo: {prompt}":
                failures.add(f"{prompt!r} came as {reply!r}")
            if answered % kill_every == 0:
                kills += _kill_one(workers, draw)
        took = time.perf_counter() - started
        if answered != prompts:
            failures.add(f"{answered} answers to {prompts} prompts")
        if not kills and prompts >= kill_every:
            failures.add("nothing was killed")
        _check_members(workers, size, failures)
        restarts = sum(ref.ask(GetStatistics()).restarts for ref in workers.members())
        replaced = workers.statistics().replaced
    print(f"{answered} answers to {prompts} prompts by {size} members in {took:.1f} s")
    print(f"{kills} kills, {restarts} restarts of the members there are, {replaced} replaced")
    failures.finish()


def _kill_one(workers: PoolRef, draw: random.Random) -> bool:
    """Kill the harness of a member that is drawn, and return whether there was one."""
    refs = workers.members()
    if not refs:
        return False
    # None, dead or gone: a member that is just being restarted or replaced.
    with contextlib.suppress(AgentDeadError, ProcessLookupError):
        pid = draw.choice(refs).ask(GetStatistics()).harness_pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def _check_members(workers: PoolRef, size: int, failures: Failures) -> None:
    if workers.statistics().size != size:
        failures.add(f"the pool's size is {workers.statistics().size} by its statistics")
    refs = workers.members()
    if len(refs) != size:
        failures.add(f"the pool has {len(refs)} members")
    _check_answers([_ask(ref, f"member {number}") for number, ref in enumerate(refs)], failures)


# Prompts without end.

_MEMBERS = 4
_IN_FLIGHT = 2 * _MEMBERS

_STEPS_KEPT = 10_000
"""The steps that an agent and the SDK keep of a conversation. Until there are so many, each
turn adds one, and memory grows as it should."""

_MORE = 0.1  # Of the peak of a tenth of the prompts.
_MORE_BYTES = 5_000_000
_LOOK_EVERY = 100  # Replies from one look at the memory to the next.


@app.command()
def endless(prompts: Annotated[int, typer.Option(min=10)] = 100_000) -> None:
    """Have a pool of agents without a harness answer prompts that a generator makes.

    With no process behind them, all memory is this program's own. It is the resident set
    size: `tracemalloc` would take many times as long.
    """
    failures = Failures()
    with Supervisor.start() as supervisor:
        workers = supervisor.create_pool(_EchoConfig(), _MEMBERS)
        for ref in workers.members():
            for _ in range(_STEPS_KEPT):
                ref.ask(Chat("warm up"))
        few = _Run(workers, prompts // 10, failures)
        many = _Run(workers, prompts, failures)
    for run in (few, many):
        print(
            f"{run.prompts} prompts: {run.prompts / run.seconds:.0f} prompts/s,"
            f" peak {run.peak / 1e6:.1f} MB, {run.blocks:+} blocks of memory,"
            f" at most {run.under_way} under way (bound {_IN_FLIGHT})"
        )
        if run.under_way > _IN_FLIGHT:
            failures.add(f"{run.under_way} prompts were under way at once")
    grown = many.peak - few.peak
    print(f"ten times the prompts: {grown / 1e6:+.1f} MB, {grown / few.peak:+.1%}")
    if grown > max(_MORE * few.peak, _MORE_BYTES):
        failures.add("memory grows with the number of prompts")
    failures.finish()


class _Run:
    """What came of one generator of prompts."""

    def __init__(self, workers: PoolRef, prompts: int, failures: Failures) -> None:
        self.prompts = prompts
        self.peak = 0
        self.under_way = 0
        self._yielded = 0
        memory = psutil.Process().memory_info
        blocks = sys.getallocatedblocks()
        started = time.perf_counter()
        for reply in workers.map(self._make(), in_flight=_IN_FLIGHT):
            if reply.text != f"echo: prompt {self._yielded}":
                failures.add(f"prompt {self._yielded} was answered {reply.text!r}")
            if self._yielded % _LOOK_EVERY == 0:
                self.peak = max(self.peak, memory().rss)
            self._yielded += 1
        self.seconds = time.perf_counter() - started
        self.blocks = sys.getallocatedblocks() - blocks
        if self._yielded != prompts:
            failures.add(f"{self._yielded} replies to {prompts} prompts")

    def _make(self) -> Iterator[str]:
        for number in range(self.prompts):
            self.under_way = max(self.under_way, number + 1 - self._yielded)
            yield f"prompt {number}"


class _EchoConfig(AgentConfig):
    """An agent of the SDK that answers at once, without a process."""

    def create_strategy(self, *, tool_runner: Any, hook_runner: Any) -> ConnectionStrategy:
        """Make the strategy; there are no tools and no hooks."""
        del tool_runner, hook_runner
        return _EchoStrategy()


class _EchoStrategy(ConnectionStrategy):
    def connect(self) -> Connection:
        return _EchoConnection()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        pass


class _EchoConnection(Connection):
    def __init__(self) -> None:
        self._prompt: sdk.Content | None = None

    async def send(self, prompt: sdk.Content | None, **kwargs: Any) -> None:
        del kwargs
        self._prompt = prompt

    async def receive_steps(self) -> AsyncIterator[sdk.Step]:
        text = f"echo: {self._prompt}"
        yield sdk.Step(
            type=sdk.StepType.TEXT_RESPONSE,
            source=sdk.StepSource.MODEL,
            target=sdk.StepTarget.USER,
            status=sdk.StepStatus.DONE,
            content=text,
            content_delta=text,
            is_complete_response=True,
        )

    async def send_trigger_notification(self, content: str) -> None:
        del content


if __name__ == "__main__":
    app()
