"""The facts about an agent's model that spans and metrics name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from google.antigravity.types import ModelTarget, VertexEndpoint
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GenAiProviderNameValues

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["ModelFacts", "model_facts"]


class ModelFacts(NamedTuple):
    """The model of an agent."""

    provider: str
    """The value of `gen_ai.provider.name`."""

    model: str | None
    """The model's name; `None` if the configuration leaves it to the SDK."""

    address: str | None
    """The host of its service; `None` for the provider's own."""

    port: int | None
    """The port of its service, if the address has one."""


def model_facts(config: AgentConfig) -> ModelFacts:
    """Return the facts about the model of a configuration."""
    model: Any = getattr(config, "model", None)
    endpoint = model.endpoint if isinstance(model, ModelTarget) else None
    name = model.name if isinstance(model, ModelTarget) else model
    url = getattr(endpoint, "base_url", None) or getattr(config, "base_url", None)
    address, port = _address(url)
    return ModelFacts(
        _provider(config, endpoint), None if name is None else str(name), address, port
    )


def _provider(config: AgentConfig, endpoint: object) -> str:
    if hasattr(config, "base_url"):  # The SDK's configuration of OpenAI-compatible services.
        return GenAiProviderNameValues.OPENAI.value
    if isinstance(endpoint, VertexEndpoint) or getattr(config, "vertex", None):
        return GenAiProviderNameValues.GCP_VERTEX_AI.value
    return GenAiProviderNameValues.GCP_GEMINI.value


def _address(url: object) -> tuple[str | None, int | None]:
    if not isinstance(url, str):
        return None, None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # It is not a valid address. The start of the agent says so.
        return None, None
    return parts.hostname, port
