"""A pool whose members are killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agy_actors import AgentDeadError, Backoff, GetStatistics, Supervisor
from agy_actors.testing import ScriptedModel
from benchmarks._failures import Failures
from tests.soak.supervision.asking import ask, check_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import PoolRef

__all__ = ["pool"]


def pool(
    prompts: Annotated[int, typer.Option(min=1)] = 1000,
    size: Annotated[int, typer.Option(min=1)] = 4,
    kill_every: Annotated[int, typer.Option(min=1, help="Replies from kill to kill.")] = 20,
    seed: int = 0,
) -> None:
    """Let a pool answer prompts while the harness of one member after another is killed."""
    failures = Failures()
    draw = random.Random(seed)
    kills = 0
    asked = [f"prompt {number}" for number in range(prompts)]
    # No wait between restarts and no limit: there are many kills, and none is the member's fault.
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
    """Kill the harness of a random member, and return whether it had one."""
    refs = workers.members()
    if not refs:
        return False
    # The member is being restarted or replaced.
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
    check_answers([ask(ref, f"member {number}") for number, ref in enumerate(refs)], failures)
