"""The names of metrics and of their attributes, beside those in `conventions`."""

from __future__ import annotations

from typing import Final

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

__all__ = [
    "DURATION",
    "DURATION_BUCKETS",
    "INPUT",
    "KIND",
    "OUTCOME",
    "OUTPUT",
    "ROOT",
    "STATE",
    "TOKENS",
    "TOKEN_BUCKETS",
    "TOKEN_TYPE",
]

DURATION: Final = gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION
TOKENS: Final = gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE
TOKEN_TYPE: Final = gen_ai_attributes.GEN_AI_TOKEN_TYPE
INPUT: Final = gen_ai_attributes.GenAiTokenTypeValues.INPUT.value
OUTPUT: Final = gen_ai_attributes.GenAiTokenTypeValues.OUTPUT.value

# The conventions advise these boundaries; the package of their constants does not have them.
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
"""Seconds, from 0.01 to 81.92."""
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
"""Tokens, from 1 to 67,108,864."""

ROOT: Final = "agy_actors.root"
"""The name of the supervisor that is instrumented."""

STATE: Final = "agy_actors.state"
"""The state of agents or sessions."""

KIND: Final = "agy_actors.kind"
"""`agent`, `actor`, `pool`, `sessions` or `supervisor`."""

OUTCOME: Final = "agy_actors.outcome"
"""`ok`, or the name of an error's type."""
