"""Traces, metrics and `top`: what agents do, for those who operate them.

It needs the extra `telemetry`: `pip install "agy-actors[telemetry]"`.
"""

from __future__ import annotations

from agy_actors.telemetry.exporting import Exporters
from agy_actors.telemetry.instrument import Instrumentation, instrument
from agy_actors.telemetry.log_ids import add_trace_ids
from agy_actors.telemetry.metrics.prometheus import MetricsNotServed, MetricsServer, serve_metrics
from agy_actors.telemetry.top import TopServer, serve_top, top

__all__ = [
    "Exporters",
    "Instrumentation",
    "MetricsNotServed",
    "MetricsServer",
    "TopServer",
    "add_trace_ids",
    "instrument",
    "serve_metrics",
    "serve_top",
    "top",
]
