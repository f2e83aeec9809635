"""The cost of a new conversation for each turn of a pool.

    python -m benchmarks.pool_map [--prompts 200] [--size 4] [--thinking 1.0]

A pool maps unrelated prompts, once with a new conversation for each turn and once with members that
keep their conversation, in the same run. It prints the throughput of both and their ratio, and the
number of user messages in the requests to the model. It exits with 1 if a request of the first kind
contains more than its own message.
"""

from __future__ import annotations

import time
from typing import Annotated, NamedTuple

import typer

from agy_actors import Supervisor
from agy_actors.testing import ScriptedModel, say
from benchmarks._failures import Failures

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


class _Run(NamedTuple):
    """One map over all prompts."""

    per_second: float
    users: list[int]
    """The number of user messages in each request to the model."""


@app.command()
def main(
    prompts: Annotated[int, typer.Option(min=1)] = 200,
    size: Annotated[int, typer.Option(min=1)] = 4,
    thinking: Annotated[float, typer.Option(min=0.0, help="Seconds before an answer.")] = 1.0,
) -> None:
    """Compare pools with a new conversation for each turn with pools that keep conversations."""
    failures = Failures()
    new = _map(prompts, size, thinking, keep_conversation=False)
    kept = _map(prompts, size, thinking, keep_conversation=True)
    for name, run in (("new conversations", new), ("kept conversations", kept)):
        print(
            f"{name}: {run.per_second:.3f} prompts/s, {len(run.users)} requests, at most"
            f" {max(run.users)} messages of users in one"
        )
    print(f"throughput, new / kept: {new.per_second / kept.per_second:.3f}")
    if len(new.users) != prompts or max(new.users) > 1:
        failures.add(f"{prompts} prompts made requests with {new.users} messages of users")
    failures.finish()


def _map(prompts: int, size: int, thinking: float, *, keep_conversation: bool) -> _Run:
    answer = say(lambda request: f"echo: {request.prompt}", first_delay=thinking)
    with ScriptedModel(answer) as model, Supervisor.start() as supervisor:
        pool = supervisor.create_pool(
            model.openai_config(), size, keep_conversation=keep_conversation
        )
        started = time.perf_counter()
        asked = [f"prompt {number}" for number in range(prompts)]
        answered = [reply.text for reply in pool.map(asked)]
        took = time.perf_counter() - started
        assert answered == [f"echo: {prompt}" for prompt in asked]
        users = [[role for role, _ in r.messages].count("user") for r in model.requests]
    return _Run(prompts / took, users)


if __name__ == "__main__":
    app()
