"""Two API keys, one of which is at its quota."""

from __future__ import annotations

import contextlib
import enum
import statistics
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from agy_actors import QuotaExceeded, Supervisor
from agy_actors.testing import quota_error
from benchmarks._failures import Failures
from tests.soak.supervision.asking import TIMEOUT, ask, asked, check_answers, slow_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ModelRequest, ScriptedModel
    from tests.soak.supervision.asking import Turn

__all__ = ["quotas"]

_ROUNDS = 4
"""How often each phase comes, so that noise affects all phases."""

_FREE, _OTHER = "key-that-is-free", "key-of-the-others"
# The timeout of a turn of a refused key, in seconds: the harness itself retries for long.
_PATIENCE = 1.0
_RETRY_AFTER = 0.5  # Below the timeout, so that askers wait for it and are refused again.
_UNDISTURBED = 0.95
"""The part of its rate with a silent other key that a free key must reach: the claim is "the same",
minus the noise of the machine."""


class _Phase(enum.Enum):
    SILENT = "is silent"
    REFUSED = "is at its quota"
    ANSWERED = "is answered"


def quotas(
    seconds: Annotated[float, typer.Option(min=1, help="Of each kind of phase.")] = 20.0,
    agents: Annotated[int, typer.Option(min=1, help="Of each key.")] = 4,
) -> None:
    """Exhaust the quota of one of two API keys, and time the turns of the other."""
    failures = Failures()
    rates: dict[_Phase, list[float]] = {phase: [] for phase in _Phase}
    with slow_model() as model, Supervisor.start() as supervisor:
        keys = _Keys(model, supervisor, agents, failures)
        phases = list(_Phase)
        for number in range(_ROUNDS):
            # Another order each time, so that no phase always follows the same one.
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

        Its agents are new each time, because a turn costs the harness more in a longer
        conversation.
        """
        with self._agents_of(_OTHER) as others, self._agents_of(_FREE) as free:
            disturbing = [] if phase is _Phase.SILENT else others
            refusing = phase is _Phase.REFUSED
            if refusing:
                self._exhausted.set()
            with asked(disturbing, _PATIENCE if refusing else TIMEOUT) as others_turns:
                if refusing:
                    self._wait_for_hold()
                with asked(free) as turns:
                    started = time.perf_counter()
                    time.sleep(seconds)
            self._exhausted.clear()
        check_answers(turns, self._failures)
        if refusing:
            self._check_refusals(others_turns)
        else:
            check_answers(others_turns, self._failures)
        return sum(_share(turn, started, started + seconds) for turn in turns) / seconds

    @contextlib.contextmanager
    def _agents_of(self, key: str) -> Iterator[list[AgentRef]]:
        config = self._model.gemini_config(api_key=key)
        refs = [self._supervisor.create_agent(config) for _ in range(self._agents)]
        # The first turns also wait for the end of a hold from the previous phase.
        check_answers([ask(ref, "warm up") for ref in refs], self._failures)
        yield refs
        for ref in refs:
            self._supervisor.shutdown_agent(ref)

    def _wait_for_hold(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self._supervisor.pace():
            if time.monotonic() > deadline:
                raise RuntimeError("the key was not held back")
            time.sleep(0.01)

    def _check_refusals(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            if isinstance(turn.outcome, QuotaExceeded):
                self.refused += 1
            else:
                self._failures.add(f"the quota came as {turn.outcome!r}")


def _share(turn: Turn, begin: float, end: float) -> float:
    """Return the part of a turn between two times."""
    return max(0.0, min(turn.ended, end) - max(turn.started, begin)) / turn.took
