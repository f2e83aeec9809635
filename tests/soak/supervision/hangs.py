"""An agent whose loop hangs, while others take turns."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agy_actors import AgyActorsError, Chat, Supervisor, TurnInterrupted
from agy_actors.testing import call_tool, say
from benchmarks._failures import Failures, print_times
from tests.soak.supervision.asking import THINKING, TIMEOUT, ask, asked, check_answers, slow_model

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel
    from tests.soak.supervision.asking import Turn

__all__ = ["hangs"]

_BACK_WITHIN = 1.0
"""Seconds after its `hang_timeout` within which an agent answers again."""

_SLOWER = 1.25
"""How much slower the others' median turn may be for "no delay". The hanging agent costs them
nothing; the rest is noise from other load on the machine."""


class _Hang(NamedTuple):
    noticed: float
    """Seconds until the turn that hung was answered with its error."""
    recovered: float
    """Seconds until the next turn was answered."""


def hangs(
    agents: Annotated[int, typer.Option(min=2)] = 8,
    hang_timeout: Annotated[float, typer.Option(min=0.1)] = 2.0,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Block the loop of one agent of a group by its own tool, while the others take turns."""
    failures = Failures()
    seen: list[_Hang] = []
    times: dict[bool, list[float]] = {False: [], True: []}
    with slow_model() as model, Supervisor.start(hang_timeout=hang_timeout) as supervisor:
        model.when(r"^block$", call_tool("block"))
        # At once: the model's thinking time is not part of the recovery.
        model.when(r"^next$", say("echo: next"))
        for number in range(repetitions):
            # Alternately, so that other load on the machine affects both.
            for hanging in (False, True) if number % 2 else (True, False):
                group = _Group(model, supervisor, agents, failures)
                turns = group.hang(seen) if hanging else group.stay_calm(hang_timeout)
                group.end()
                check_answers(turns, failures)
                # The same number of each kind from the beginning of a conversation, because a turn
                # costs the harness more in a longer conversation.
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
    net = (hung[0] - THINKING) / (calm[0] - THINKING)
    print(f"ratio of the medians without the {THINKING * 1e3:g} ms that the model takes {net:.3f}")
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
            # The thread that runs this is not joined: an agent's threads are daemons, which end
            # with the program.
            time.sleep(3600)  # noqa: ASYNC251 (what must not be done, done)
            return "awake"

        self._one = supervisor.create_agent(model.openai_config(tools=[block]))
        self._others = [supervisor.create_agent(model.openai_config()) for _ in range(size - 1)]
        check_answers([ask(ref, "warm up") for ref in (self._one, *self._others)], failures)

    def stay_calm(self, seconds: float) -> list[Turn]:
        """Ask the others for some seconds, and return their turns."""
        with asked(self._others) as turns:
            time.sleep(seconds)
        return turns

    def hang(self, seen: list[_Hang]) -> list[Turn]:
        """Ask the others until the hanging agent is ready again, and return their turns."""
        blocked = self._one.ask(Chat("block"), block=False)
        noticed: list[float] = []
        blocked.add_done_callback(lambda _: noticed.append(time.perf_counter()))
        if not self._begun.wait(TIMEOUT):
            raise RuntimeError("the tool was not called")
        with asked(self._others) as turns:
            answer = ask(self._one, "next")
        check_answers([answer], self._failures)
        try:
            self._failures.add(f"the turn that hung was answered {blocked.get(timeout=TIMEOUT)!r}")
        except TurnInterrupted:
            seen.append(_Hang(noticed[0] - self._began[0], answer.ended - self._began[0]))
        except AgyActorsError as error:
            self._failures.add(f"the turn that hung came as {error!r}")
        return turns

    def end(self) -> None:
        """End all agents of the group."""
        for ref in (self._one, *self._others):
            self._supervisor.shutdown_agent(ref)
