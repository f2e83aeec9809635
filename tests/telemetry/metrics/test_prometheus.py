"""Metrics for Prometheus: the server, and the names that it exports."""

from __future__ import annotations

import builtins
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from google.antigravity.types import UsageMetadata
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from agy_actors import AgyActorsError, InvalidArgument
from agy_actors.telemetry.metrics.metrics import Metrics
from agy_actors.telemetry.metrics.prometheus import MetricsNotServed, serve_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors import SupervisorRef
    from agy_actors.telemetry.metrics.prometheus import MetricsServer
    from agy_actors.testing import ScriptedModel


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serve_metrics(0) as server:
        yield server


def read(server: MetricsServer) -> str:
    with urllib.request.urlopen(server.url, timeout=10) as response:
        text: str = response.read().decode()
    return text


def test_metrics_can_be_parsed(
    server: MetricsServer, supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    metrics = Metrics(supervisor, server.meter_provider.get_meter("tests"))
    supervisor.create_agent(model.openai_config()).ask("one")
    metrics.turn_ended(
        owner=supervisor.name,
        provider="openai",
        model="small",
        server_address=None,
        seconds=0.5,
        error=None,
        usage=UsageMetadata(prompt_token_count=1, candidates_token_count=2),
    )

    families = {family.name: family for family in text_string_to_metric_families(read(server))}

    asks = families["agy_actors_asks"]
    assert asks.documentation.startswith("Turns that were asked")
    assert {s.labels["agy_actors_outcome"]: s.value for s in asks.samples} == {"ok": 1.0}
    assert families["gen_ai_client_operation_duration_seconds"].type == "histogram"
    agents = families["agy_actors_agents"]
    assert agents.type == "gauge"
    assert sum(sample.value for sample in agents.samples) == 1


def test_the_global_registry_is_not_used(server: MetricsServer, supervisor: SupervisorRef) -> None:
    Metrics(supervisor, server.meter_provider.get_meter("tests"))

    assert b"agy_actors" not in prometheus_client.generate_latest()
    assert "python_info" not in read(server)


def test_a_closed_server_leaves_no_thread_and_no_port() -> None:
    before = set(threading.enumerate())
    server = serve_metrics(0)
    port = server.port
    silent = socket.create_connection(("127.0.0.1", port))
    read(server)

    silent.close()
    server.close()
    server.close()

    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_in_use_is_an_error_with_its_number(server: MetricsServer) -> None:
    before = set(threading.enumerate())

    with pytest.raises(MetricsNotServed, match=f"port {server.port} of 127.0.0.1: Address already"):
        serve_metrics(server.port)

    assert set(threading.enumerate()) == before


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(MetricsNotServed, match=r"port 0 of 192\.0\.2\.1"):
        serve_metrics(0, "192.0.2.1")


@pytest.mark.parametrize("port", [-1, 65_536, "80", 1.5, True])
def test_an_invalid_port_is_refused(port: Any) -> None:
    with pytest.raises(InvalidArgument, match="port must be an integer"):
        serve_metrics(port)


@pytest.mark.parametrize(
    "missing", ["prometheus_client", "opentelemetry.exporter.prometheus", "opentelemetry.sdk"]
)
def test_a_missing_package_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    find: Any = builtins.__import__

    def import_most(name: str, *more: Any, **options: Any) -> Any:
        if name.startswith(missing):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return find(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", import_most)

    with pytest.raises(MetricsNotServed, match=r'pip install "agy-actors\[telemetry\]"') as caught:
        serve_metrics(0)

    assert isinstance(caught.value, AgyActorsError)


def test_further_readers_are_shut_down_with_the_server(supervisor: SupervisorRef) -> None:
    shut_down = threading.Event()

    class Reader(InMemoryMetricReader):
        def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
            super().shutdown(timeout_millis, **options)
            shut_down.set()

    reader = Reader()
    with serve_metrics(0, readers=[reader]) as server:
        Metrics(supervisor, server.meter_provider.get_meter("tests"))
        assert reader.get_metrics_data() is not None
        assert not shut_down.is_set()

    assert shut_down.is_set()
