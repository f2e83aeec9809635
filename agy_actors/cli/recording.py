"""`Recording`: the options of commands for telemetry."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef

__all__ = ["Recording"]

_VARIABLES = "OTEL_EXPORTER_OTLP_"
"""The beginning of the names of the variables that may name a collector."""


class Recording(NamedTuple):
    """Where traces and metrics go."""

    otlp: str | None = None
    """The address of a collector; `None` for the one in the environment, if there is one."""

    metrics_port: int | None = None
    """The port of 127.0.0.1 for Prometheus; `None` for none."""

    def check(self) -> None:
        """Refuse an address that is not one.

        Raises:
            UsageProblem: says what is wrong.
        """
        if self.otlp is None:
            return
        parts = urlsplit(self.otlp)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageProblem(
                f"--otlp must be the address of a collector, such as http://localhost:4318, got"
                f" {self.otlp!r}"
            )

    @contextmanager
    def of(self, supervisor: SupervisorRef) -> Iterator[None]:
        """Record a supervisor during the block, if a collector or a port is given.

        Raises:
            UsageProblem: the port cannot be used, or the extra `telemetry` is not installed.
        """
        if self.otlp is None and self.metrics_port is None and not _may_have_collector():
            yield
            return
        try:
            from agy_actors.telemetry import Exporters, instrument  # noqa: PLC0415 (slow)
            from agy_actors.telemetry.exporting import is_wanted_by_environment  # noqa: PLC0415
            from agy_actors.telemetry.metrics.prometheus import MetricsNotServed  # noqa: PLC0415
        except ImportError as error:
            raise UsageProblem(
                f'install the extra telemetry: pip install "agy-actors[telemetry]" ({error})'
            ) from None
        wanted = self.otlp is not None or self.metrics_port is not None
        if not wanted and not is_wanted_by_environment():
            yield
            return
        try:
            exporters = Exporters(self.otlp, metrics_port=self.metrics_port, service="agy-actors")
        except MetricsNotServed as problem:
            raise UsageProblem(str(problem)) from None
        with (
            exporters,
            instrument(
                supervisor,
                tracer_provider=exporters.tracer_provider,
                meter_provider=exporters.meter_provider,
            ),
        ):
            yield


def _may_have_collector() -> bool:
    return any(name.startswith(_VARIABLES) for name in os.environ)
