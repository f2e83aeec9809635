"""Exporters, and the options of the command line for them."""

from __future__ import annotations

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from agy_actors import Chat
from agy_actors.cli.recording import Recording
from agy_actors.cli.usage_problem import UsageProblem
from agy_actors.telemetry import Exporters, instrument
from tests.harnesses import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel


class Collector:
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        kept = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                kept.setdefault(self.path, []).append(self.rfile.read(length))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def spans(self) -> set[str]:
        requests = [
            ExportTraceServiceRequest.FromString(body) for body in self.bodies.get("/v1/traces", [])
        ]
        return {
            span.name
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    def services(self) -> set[str]:
        requests = [
            ExportTraceServiceRequest.FromString(body) for body in self.bodies.get("/v1/traces", [])
        ]
        return {
            fact.value.string_value
            for request in requests
            for resource in request.resource_spans
            for fact in resource.resource.attributes
            if fact.key == "service.name"
        }

    def metrics(self) -> set[str]:
        requests = [
            ExportMetricsServiceRequest.FromString(body)
            for body in self.bodies.get("/v1/metrics", [])
        ]
        return {
            metric.name
            for request in requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


def record_a_turn(supervisor: SupervisorRef, model: ScriptedModel, exporters: Exporters) -> None:
    agent = supervisor.create_agent(model.openai_config())
    with (
        exporters,
        instrument(
            supervisor,
            tracer_provider=exporters.tracer_provider,
            meter_provider=exporters.meter_provider,
        ),
    ):
        agent.ask(Chat("now"), timeout=PATIENCE)


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_spans_and_metrics_reach_a_collector(
    collector: Collector,
    supervisor: SupervisorRef,
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    if by == "environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    record_a_turn(
        supervisor, model, Exporters(collector.url if by == "argument" else None, service="web")
    )

    assert "agy_actors.attempt" in collector.spans()
    assert collector.services() == {"web" if by == "argument" else "shop"}
    assert "gen_ai.client.operation.duration" in collector.metrics()


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_the_standard_variables_turn_traces_off(
    collector: Collector,
    supervisor: SupervisorRef,
    model: ScriptedModel,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(*variable.split("="))

    record_a_turn(supervisor, model, Exporters(collector.url, service="web"))

    assert collector.spans() == set()
    assert bool(collector.metrics()) == ("DISABLED" not in variable)


def test_commands_record_with_otlp_and_a_port_for_prometheus(
    collector: Collector,
    supervisor: SupervisorRef,
    model: ScriptedModel,
    unused_port: int,
) -> None:
    agent = supervisor.create_agent(model.openai_config())
    with Recording(collector.url, unused_port).of(supervisor):
        agent.ask(Chat("now"), timeout=PATIENCE)
        until(lambda: agent_turns(unused_port) == 1)

    assert "agy_actors.attempt" in collector.spans()


def agent_turns(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name == "gen_ai_client_operation_duration_seconds_count"
    )


def test_commands_record_nothing_without_options_and_variables(supervisor: SupervisorRef) -> None:
    with Recording().of(supervisor), instrument(supervisor):
        pass  # It is not instrumented twice.


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://localhost", "http://", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageProblem, match="--otlp must be the address of a collector"):
        Recording(url).check()


def test_a_port_in_use_is_a_problem_of_the_options(
    supervisor: SupervisorRef, collector: Collector
) -> None:
    port = collector.server.server_port
    with (
        pytest.raises(UsageProblem, match=str(port)),
        Recording(metrics_port=port).of(supervisor),
    ):
        pass
