"""Compares the counters of the metrics with the soak's own ledger, at its end.

The ledger has the asks of all callers. `Watch` has every event, since its subscription is large
enough. The counters must equal both exactly.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from agy_actors.telemetry import instrument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from agy_actors import SupervisorRef
    from tests.soak.chaos._ledger import Ask
    from tests.soak.chaos._watch import Watch

__all__ = ["Telemetry"]

_OUTCOME = "agy_actors.outcome"
_KIND = "agy_actors.kind"
_ALL = ""
"""The attribute of metrics that have none."""


class Telemetry:
    """The metrics of the soak's supervisor."""

    def __init__(self, supervisor: SupervisorRef) -> None:
        self._name = supervisor.name
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._instrumentation = instrument(supervisor, meter_provider=self._provider)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._instrumentation.close()
        self._provider.shutdown()

    def differences(self, asks: Sequence[Ask] | None, watch: Watch) -> Iterator[str]:
        """Return how the counters differ from the ledger. Call it when everything has ended.

        Args:
            asks: all asks; `None` if the ledger does not have them.
            watch: has all events.
        """
        found = self._counters()
        found["agy_actors.restarts"].pop("supervisor", None)  # No event tells of these.
        expected: dict[str, Counter[str]] = {
            "agy_actors.turns": watch.turns,
            "agy_actors.restarts": Counter(agent=watch.restarts),
            "agy_actors.hangs": Counter({_ALL: watch.counts["AgentHung"]}),
            "agy_actors.give_ups": Counter({_ALL: watch.counts["AgentGivenUp"]}),
            "agy_actors.dead_letters": Counter({_ALL: watch.counts["DeadLetter"]}),
            "agy_actors.quota_holds": Counter({_ALL: watch.counts["QuotaHold"]}),
        }
        if asks is not None:
            expected["agy_actors.asks"] = Counter(map(_outcome_of, asks))
        for name, numbers in expected.items():
            counted = found.get(name, Counter())
            if set(numbers) == {_ALL}:
                counted = Counter({_ALL: counted.total()})
            print(f"{self._name}, {name}: {_text(counted)}")
            if +numbers != +counted:
                yield (
                    f"{name} of {self._name} is {_text(counted)}, and the ledger has"
                    f" {_text(numbers)}"
                )

    def _counters(self) -> dict[str, Counter[str]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        counters: dict[str, Counter[str]] = {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        for metric in (metric for scope in scopes for metric in scope.metrics):
            numbers = counters.setdefault(metric.name, Counter())
            for point in metric.data.data_points:
                attributes = point.attributes or {}
                detail = attributes.get(_OUTCOME, attributes.get(_KIND, _ALL))
                numbers[str(detail)] += int(getattr(point, "value", 0))
        return counters


def _outcome_of(ask: Ask) -> str:
    if ask.error is None:
        return "ok"
    name = type(ask.error).__name__
    return "CancelledError" if name == "ReplyCancelled" else name


def _text(numbers: Counter[str]) -> str:
    return ", ".join(f"{n} {name}".strip() for name, n in sorted((+numbers).items())) or "0"
