"""`Observed`: the observable instruments of a meter, for all supervisors that are instrumented.

OpenTelemetry makes an instrument of a name only once for each meter, and has no way to remove its
callback. So the instruments of a meter are shared, and each supervisor is a source that can be
removed.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from loguru import logger
from opentelemetry.metrics import Observation

from agy_actors._actors import forks
from agy_actors.telemetry.metrics.measures import MEASURES, Form, Value
from agy_actors.telemetry.metrics.names import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    from agy_actors.telemetry.metrics.measures import Measure
    from agy_actors.telemetry.metrics.readings import Readings, TreeReader

__all__ = ["Source", "add_source", "remove_source"]


class Source:
    """An instrumented supervisor, whose numbers are read once for each collection. Thread-safe.

    Nothing tells an instrument where a collection begins. So the numbers are read again when an
    instrument asks for the second time.

    Args:
        tree: reads the numbers.
    """

    def __init__(self, tree: TreeReader) -> None:
        self._tree = tree
        self._made_in = forks.generation
        self._lock = threading.Lock()
        self._readings: Readings | None = None
        self._seen_by: set[str] = set()
        """The measures that have got these readings."""

    def observe(self, measure: Measure) -> list[Value]:
        """Return the values of a measure; none in a forked child, which has no actors."""
        if self._made_in != forks.generation:
            return []
        with self._lock:
            if self._readings is None or measure.name in self._seen_by:
                self._readings = self._tree.read()
                self._seen_by.clear()
            self._seen_by.add(measure.name)
            readings = self._readings
        root = {ROOT: self._tree.name}
        return [Value(number, {**root, **more}) for number, more in measure.read(readings)]

    def forget(self) -> None:
        """Drop the numbers, and everything that refers to actors."""
        with self._lock:
            self._readings = None
            self._tree.forget()


class _Observed:
    """The observable instruments of one meter. Their callbacks keep it alive."""

    def __init__(self, meter: Meter) -> None:
        self.sources: dict[Source, None] = {}
        for measure in MEASURES:
            create = {
                Form.COUNTER: meter.create_observable_counter,
                Form.SUM: meter.create_observable_up_down_counter,
                Form.GAUGE: meter.create_observable_gauge,
            }[measure.form]
            create(
                measure.name,
                callbacks=[self._callback(measure)],
                unit=measure.unit,
                description=measure.description,
            )

    def _callback(self, measure: Measure) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            found: list[Value] = []
            for source in list(self.sources):
                try:
                    found += source.observe(measure)
                except Exception:  # noqa: BLE001 (it must not hide the other supervisors)
                    logger.exception("The metric {} could not be read", measure.name)
            return [Observation(*value) for value in _merge(found, measure.form)]

        return observe


def _merge(values: Iterable[Value], form: Form) -> Iterable[Value]:
    """Join values with the same attributes, of supervisors with the same name."""
    merged: dict[frozenset[tuple[str, str]], Value] = {}
    for value in values:
        key = frozenset(value.attributes.items())
        same = merged.get(key)
        number = value.number
        if same is not None:
            number = max(number, same.number) if form is Form.GAUGE else number + same.number
        merged[key] = Value(number, value.attributes)
    return merged.values()


_lock = threading.Lock()
_of_meters: weakref.WeakKeyDictionary[Meter, _Observed] = weakref.WeakKeyDictionary()
"""The instruments of each meter. A meter has each name once, for all supervisors."""


def add_source(meter: Meter, source: Source) -> None:
    """Observe a supervisor through the instruments of a meter. Thread-safe."""
    with _lock:
        observed = _of_meters.get(meter)
        if observed is None:
            observed = _of_meters[meter] = _Observed(meter)
        observed.sources[source] = None


def remove_source(meter: Meter, source: Source) -> None:
    """Observe a supervisor no longer. Thread-safe; further calls do nothing."""
    with _lock:
        observed = _of_meters.get(meter)
        if observed is not None:
            observed.sources.pop(source, None)
    source.forget()
