"""The dashboard and the compose file in `docs/telemetry` fit the metrics that are exported."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from google.antigravity.types import UsageMetadata
from prometheus_client.parser import text_string_to_metric_families

from agy_actors import Budget, Supervisor
from agy_actors.telemetry.metrics.metrics import Metrics
from agy_actors.telemetry.metrics.prometheus import serve_metrics
from tests.harnesses import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors.testing import ScriptedModel

FOLDER = Path(__file__).parents[3] / "docs" / "telemetry"

_SERIES = re.compile(r"\b((?:agy_actors|gen_ai)_\w+)\{([^}]*)\}")
_GROUPS = re.compile(r"\bby \(([^)]*)\)")
_CONDITION = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Return the title of each panel with each of its queries."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


@pytest.fixture
def exported(model: ScriptedModel, tmp_path: Path) -> dict[str, set[str]]:
    """Return the labels of all exported series, by name."""
    with (
        serve_metrics(0) as server,
        Supervisor.start(state_dir=tmp_path, budget=Budget(1000, 60.0)) as supervisor,
    ):
        metrics = Metrics(supervisor, server.meter_provider.get_meter("tests"))
        sessions = supervisor.create_sessions(model.openai_config())
        sessions.submit("ada", "one").result(timeout=PATIENCE)
        metrics.turn_ended(
            owner="users",
            provider="openai",
            model="small",
            server_address="localhost",
            seconds=1.0,
            error="TurnTimeout",
            usage=UsageMetadata(prompt_token_count=1, candidates_token_count=1),
        )
        with urllib.request.urlopen(server.url, timeout=10) as response:
            text = response.read().decode()
    labels: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels[sample.name] |= set(sample.labels)
    return labels


def test_each_series_and_label_of_the_dashboard_is_exported(exported: dict[str, set[str]]) -> None:
    wrong = []
    for title, query in queries():
        found = _SERIES.findall(query)
        assert found, f"{title}: {query} has no series"
        used = {label for group in _GROUPS.findall(query) for label in group.split(", ")}
        for name, conditions in found:
            missing = (used | set(_CONDITION.findall(conditions))) - exported.get(name, set())
            if name not in exported or missing:
                wrong.append((title, name, missing))

    assert wrong == []


def test_the_dashboard_shows_each_metric(exported: dict[str, set[str]]) -> None:
    shown = {name for _, query in queries() for name, _ in _SERIES.findall(query)}
    own = {name for name in exported if name.startswith(("agy_actors_", "gen_ai_"))}

    histograms = r"_(bucket|count|sum|created)$"
    assert {re.sub(histograms, "", name) for name in own} == {
        re.sub(histograms, "", name) for name in shown
    }


def test_the_variable_of_the_dashboard_is_a_label_that_is_exported(
    exported: dict[str, set[str]],
) -> None:
    [variable] = dashboard()["templating"]["list"]
    match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])

    assert match is not None
    assert match[2] in exported[match[1]]


def test_panels_have_different_ids_and_places() -> None:
    panels = dashboard()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)


def test_the_queries_use_the_data_source_that_is_provisioned() -> None:
    [prometheus, jaeger] = load("grafana-datasources.yaml")["datasources"]
    used = {
        target["datasource"]["uid"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    }

    assert used == {prometheus["uid"]}
    services = load("compose.yaml")["services"]
    for source in (prometheus, jaeger):
        assert re.fullmatch(r"http://(\w+):\d+", source["url"])[1] in services  # type: ignore[index] # it matches


# The compose file.


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_each_file_is_yaml(path: Path) -> None:
    assert isinstance(load(path.name), dict)


def test_the_services_have_pinned_images_and_files_that_exist() -> None:
    services = load("compose.yaml")["services"]
    volumes = set(load("compose.yaml")["volumes"])
    assert set(services) == {"collector", "prometheus", "jaeger", "grafana"}
    for service in services.values():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
        assert set(service.get("depends_on", [])) <= set(services)
        for mounted in service.get("volumes", []):
            source, target = mounted.split(":")[:2]
            assert source in volumes or (FOLDER / source).is_file(), source
            assert target.startswith("/")


def test_ports_are_open_to_this_machine_only() -> None:
    services = load("compose.yaml")["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_file_of_settings_is_mounted() -> None:
    services = load("compose.yaml")["services"]
    mounted = {
        volume.split(":")[0].removeprefix("./")
        for service in services.values()
        for volume in service.get("volumes", [])
    }

    settings = {path.name for path in FOLDER.iterdir() if path.suffix in {".json", ".yaml"}}
    assert settings - mounted == {"compose.yaml"}


def test_the_dashboard_is_mounted_where_it_is_provisioned() -> None:
    [provider] = load("grafana-dashboards.yaml")["providers"]
    volumes = load("compose.yaml")["services"]["grafana"]["volumes"]
    [target] = [v.split(":")[1] for v in volumes if v.startswith("./grafana-dashboard.json:")]

    assert str(Path(target).parent) == provider["options"]["path"]


def test_prometheus_reads_the_collector() -> None:
    exporter = load("collector.yaml")["exporters"]["prometheus"]["endpoint"]
    jobs = {job["job_name"]: job for job in load("prometheus.yaml")["scrape_configs"]}

    [target] = jobs["collector"]["static_configs"][0]["targets"]
    assert target == f"collector:{exporter.rpartition(':')[2]}"


def test_each_part_of_the_collectors_pipelines_is_defined() -> None:
    collector = load("collector.yaml")

    for pipeline in collector["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= set(collector[kind])
