"""`add_trace_ids`: the ids of the current span in the records of loguru."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from agy_actors.telemetry.turn_spans import ids_of

if TYPE_CHECKING:
    from loguru import Record

__all__ = ["add_trace_ids"]


def add_trace_ids(record: Record) -> None:
    """Add `trace_id` and `span_id` to the `extra` of a record, if there is a span.

    For `loguru.logger.configure(patcher=add_trace_ids)`. The records of agy_actors about a turn
    have the ids of the turn's span without this.
    """
    for name, value in ids_of(trace.get_current_span()).items():
        record["extra"].setdefault(name, value)
