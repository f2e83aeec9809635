"""`Metrics`: the metrics of one supervisor and of everything below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._sdk.errors import AgentDeadError
from agy_actors.telemetry import conventions
from agy_actors.telemetry.metrics import names
from agy_actors.telemetry.metrics.observed import Source, add_source, remove_source
from agy_actors.telemetry.metrics.readings import TreeReader

if TYPE_CHECKING:
    from google.antigravity.types import UsageMetadata
    from opentelemetry.metrics import Meter

    from agy_actors._supervisors.supervisor_ref import SupervisorRef

__all__ = ["Metrics"]


class Metrics:
    """The metrics of one supervisor and of everything below it, until `close`. Thread-safe.

    All of them have a unit and a description. Their attributes have a bounded number of values: no
    key of a session, name of an agent, prompt or conversation id is among them.

    Args:
        supervisor: the supervisor. It is not kept alive; its counts are kept until `close`.
        meter: makes the instruments.

    Raises:
        AgentDeadError: the supervisor has ended.
    """

    def __init__(self, supervisor: SupervisorRef, meter: Meter) -> None:
        root: Any = supervisor._actor_weakref()  # noqa: SLF001 (pykka's; refs have no other way)
        if root is None or not supervisor.is_alive():
            raise AgentDeadError(f"{supervisor} has ended: it has no metrics")
        tree = TreeReader(root)
        self._owners = tree.owners
        self._root = tree.name
        self._meter: Meter | None = meter
        self._source = Source(tree)
        self._seconds = meter.create_histogram(
            names.DURATION,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            names.TOKENS,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )
        add_source(meter, self._source)

    def turn_ended(
        self,
        *,
        owner: str,
        provider: str,
        model: str | None,
        server_address: str | None,
        seconds: float,
        error: str | None,
        usage: UsageMetadata | None,
    ) -> None:
        """Record a turn that has ended. It does not wait. Does nothing after `close`.

        Args:
            owner: the name of the supervisor, the pool or the sessions of the agent.
            provider: the value of `gen_ai.provider.name`.
            model: the name of the model; `None` if it is not known.
            server_address: the host of the model's service; `None` if it is not known.
            seconds: the duration of the turn in seconds.
            error: the name of its error's type; `None` if it was answered.
            usage: the tokens of all its attempts; `None` if they are not known.
        """
        if self._meter is None:
            return
        found = {
            conventions.OPERATION: conventions.INVOKE_AGENT,
            conventions.PROVIDER: provider,
            conventions.REQUEST_MODEL: model,
            conventions.SERVER_ADDRESS: server_address,
            conventions.OWNER: self._owners.label(owner),
            names.ROOT: self._root,
        }
        attributes = {name: value for name, value in found.items() if value is not None}
        failed = {} if error is None else {conventions.ERROR_TYPE: error}
        self._seconds.record(seconds, {**attributes, **failed})
        for kind, number in _tokens_of(usage):
            self._tokens.record(number, {**attributes, names.TOKEN_TYPE: kind})

    def close(self) -> None:
        """Observe nothing more, and drop what was read. Further calls do nothing."""
        meter, self._meter = self._meter, None
        if meter is not None:
            remove_source(meter, self._source)


def _tokens_of(usage: UsageMetadata | None) -> list[tuple[str, int]]:
    """Return the numbers of tokens that are known, by type. Thoughts are output."""
    if usage is None:
        return []
    found: list[tuple[str, int]] = []
    if usage.prompt_token_count is not None:
        found.append((names.INPUT, usage.prompt_token_count))
    output = [usage.candidates_token_count, usage.thoughts_token_count]
    known = [number for number in output if number is not None]
    if known:
        found.append((names.OUTPUT, sum(known)))
    return found
