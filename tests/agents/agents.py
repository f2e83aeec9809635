"""Helpers for the tests of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from google.antigravity import ModelAPIRetryConfig, RetryConfig

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

RETRY_AT_ONCE = RetryConfig(
    api_retry=ModelAPIRetryConfig(
        max_retries=2, initial_sleep_duration_ms=1, exponential_multiplier=1.0, jitter_range=0.0
    )
)


class Configure(Protocol):
    """Makes a configuration that uses the scripted model."""

    def __call__(self, **overrides: Any) -> AgentConfig: ...
