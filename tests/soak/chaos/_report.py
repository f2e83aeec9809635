"""The report of a soak."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchmarks._failures import print_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.soak.chaos._callers import Worker
    from tests.soak.chaos._ledger import Ask, Verdicts
    from tests.soak.chaos._watch import Watch

__all__ = ["print_report"]


def print_report(
    workers: Sequence[Worker], asks: Sequence[Ask], verdicts: Verdicts, watch: Watch
) -> None:
    """Print all counts and measurements."""
    actions = sum((worker.actions for worker in workers), Counter[str]())
    queries = [seconds for worker in workers for seconds in worker.queries]
    without = sum(worker.without for worker in workers)
    answers = verdicts.kinds.pop("answer", 0)
    errors = sum(verdicts.kinds.values())
    print(f"{len(asks)} asks: {answers} answers, {errors} typed errors; {without} without an agent")
    _print_counts("errors by kind", verdicts.kinds)
    print("outcomes by what the prompt met:")
    for fault, kinds in sorted(verdicts.outcomes.items(), key=lambda item: item[0].value):
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        print(f"  {fault.value:13} {told}")
    _print_counts("actions", actions)
    _print_counts("events", watch.counts)
    for what, times in (
        ("from a SIGKILL until the agent was ready", watch.after_kill),
        ("from a crash until the agent was ready", watch.after_crash),
        ("from the finding of a hung agent until it was ready", watch.after_hang),
        ("queries, restarts included", queries),
    ):
        if times:
            print_times(f"{what}, {len(times)} times", times)
    _print_delays(asks, watch)


def _print_counts(what: str, counts: Counter[str]) -> None:
    print(f"{what}: " + ", ".join(f"{n} {name}" for name, n in counts.most_common()))


def _print_delays(asks: Sequence[Ask], watch: Watch) -> None:
    """Print how long plain turns took while another agent hung, and while none did."""
    calm: list[float] = []
    beside: list[float] = []
    for ask in asks:
        if ask.plain and ask.reply is not None:
            hung = any(ask.asked < until and ask.ended > since for since, until in watch.hung)
            (beside if hung else calm).append(ask.ended - ask.asked)
    for what, times in (("no agent hung", calm), ("another agent hung", beside)):
        if times:
            print_times(f"plain turns while {what}, {len(times)} times", times)
