"""The metrics of turns: the semantic conventions for generative AI."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from google.antigravity.types import UsageMetadata

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.telemetry.metrics.metrics import Metrics
    from tests.telemetry.metrics.collected import Collected

DURATION = "gen_ai.client.operation.duration"
TOKENS = "gen_ai.client.token.usage"


@pytest.fixture
def metrics(supervisor: SupervisorRef, collected: Collected) -> Metrics:
    return collected.observe(supervisor)


def end_turn(
    metrics: Metrics,
    *,
    model: str | None = "small",
    server_address: str | None = "localhost",
    error: str | None = None,
    usage: UsageMetadata | None = None,
) -> None:
    metrics.turn_ended(
        owner="poets",
        provider="openai",
        model=model,
        server_address=server_address,
        seconds=1.5,
        error=error,
        usage=usage,
    )


def test_a_turn_has_a_duration_with_the_attributes_of_the_conventions(
    metrics: Metrics, collected: Collected, supervisor: SupervisorRef
) -> None:
    end_turn(metrics)

    metric = collected.metrics()[DURATION]
    [point] = metric.data.data_points
    assert metric.unit == "s"
    assert point.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "server.address": "localhost",
        "agy_actors.supervisor": "poets",
        "agy_actors.root": supervisor.name,
    }


def test_facts_that_are_not_known_are_no_attributes(metrics: Metrics, collected: Collected) -> None:
    end_turn(metrics, model=None, server_address=None)

    [point] = collected.points(DURATION)
    assert not {"gen_ai.request.model", "server.address", "error.type"} & set(point.attributes)


def test_a_failed_turn_has_the_type_of_its_error(metrics: Metrics, collected: Collected) -> None:
    end_turn(metrics, error="TurnTimeout", usage=UsageMetadata(prompt_token_count=3))

    [point] = collected.points(DURATION)
    assert point.attributes["error.type"] == "TurnTimeout"
    [tokens] = collected.points(TOKENS)
    assert "error.type" not in tokens.attributes


def test_tokens_are_input_or_output_and_thoughts_are_output(
    metrics: Metrics, collected: Collected
) -> None:
    usage = UsageMetadata(
        prompt_token_count=100,
        cached_content_token_count=50,
        candidates_token_count=20,
        thoughts_token_count=5,
        total_token_count=125,
    )
    end_turn(metrics, usage=usage)
    end_turn(metrics, usage=usage)

    points = collected.points(TOKENS)
    assert {p.attributes["gen_ai.token.type"]: (p.count, p.sum) for p in points} == {
        "input": (2, 200),
        "output": (2, 50),
    }


@pytest.mark.parametrize("usage", [None, UsageMetadata()])
def test_tokens_that_are_not_known_are_not_recorded(
    metrics: Metrics, collected: Collected, usage: UsageMetadata | None
) -> None:
    end_turn(metrics, usage=usage)

    assert collected.points(TOKENS) == []


def test_the_buckets_are_those_of_the_conventions(metrics: Metrics, collected: Collected) -> None:
    end_turn(metrics, usage=UsageMetadata(prompt_token_count=3))

    [duration], [tokens] = collected.points(DURATION), collected.points(TOKENS)
    # From the description of the metrics in the conventions.
    seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96]
    assert all(
        math.isclose(bound, wanted)
        for bound, wanted in zip(duration.explicit_bounds, [*seconds, 81.92], strict=True)
    )
    assert tokens.explicit_bounds == (
        *(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304),
        *(16777216, 67108864),
    )
