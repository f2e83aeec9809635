"""The names of spans, events and attributes.

They follow OpenTelemetry's semantic conventions for generative AI, of the version in `SCHEMA_URL`.
These conventions are not stable yet. Names that they lack begin with `agy_actors.`.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.attributes import server_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

__all__ = [
    "AGENT_NAME",
    "ATTEMPT",
    "ATTEMPT_NUMBER",
    "CONVERSATION_ID",
    "ERROR_TYPE",
    "EXECUTE_TOOL",
    "FINISH_REASONS",
    "INPUT_MESSAGES",
    "INPUT_TOKENS",
    "INVOKE_AGENT",
    "MEMBER",
    "OPERATION",
    "OUTPUT_MESSAGES",
    "OUTPUT_TOKENS",
    "OWNER",
    "PROVIDER",
    "REASONING_TOKENS",
    "REQUEST_MODEL",
    "SCHEMA_URL",
    "SCOPE",
    "SERVER_ADDRESS",
    "SERVER_PORT",
    "TOOL_ARGUMENTS",
    "TOOL_CALL_ID",
    "TOOL_NAME",
    "TOOL_TYPE",
    "WAIT_REASON",
    "WAIT_SECONDS",
]

SCHEMA_URL: Final = Schemas.V1_44_0.value
"""The version of the semantic conventions."""

SCOPE: Final = "agy_actors"
"""The name of the instrumentation scope."""

# Values of `OPERATION`, which begin the names of spans.
INVOKE_AGENT: Final = gen_ai.GenAiOperationNameValues.INVOKE_AGENT.value
EXECUTE_TOOL: Final = gen_ai.GenAiOperationNameValues.EXECUTE_TOOL.value

ATTEMPT: Final = "agy_actors.attempt"
"""The name of the span of one attempt of a turn."""

OPERATION: Final = gen_ai.GEN_AI_OPERATION_NAME
PROVIDER: Final = gen_ai.GEN_AI_PROVIDER_NAME
AGENT_NAME: Final = gen_ai.GEN_AI_AGENT_NAME
CONVERSATION_ID: Final = gen_ai.GEN_AI_CONVERSATION_ID
REQUEST_MODEL: Final = gen_ai.GEN_AI_REQUEST_MODEL
FINISH_REASONS: Final = gen_ai.GEN_AI_RESPONSE_FINISH_REASONS
INPUT_TOKENS: Final = gen_ai.GEN_AI_USAGE_INPUT_TOKENS
OUTPUT_TOKENS: Final = gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS
REASONING_TOKENS: Final = gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS
INPUT_MESSAGES: Final = gen_ai.GEN_AI_INPUT_MESSAGES
OUTPUT_MESSAGES: Final = gen_ai.GEN_AI_OUTPUT_MESSAGES
TOOL_NAME: Final = gen_ai.GEN_AI_TOOL_NAME
TOOL_TYPE: Final = gen_ai.GEN_AI_TOOL_TYPE
TOOL_CALL_ID: Final = gen_ai.GEN_AI_TOOL_CALL_ID
TOOL_ARGUMENTS: Final = gen_ai.GEN_AI_TOOL_CALL_ARGUMENTS
SERVER_ADDRESS: Final = server_attributes.SERVER_ADDRESS
SERVER_PORT: Final = server_attributes.SERVER_PORT
ERROR_TYPE: Final = error_attributes.ERROR_TYPE

OWNER: Final = "agy_actors.supervisor"
"""The name of the supervisor, the pool or the sessions that the agent belongs to."""

MEMBER: Final = "agy_actors.member"
"""The name of the pool's member that ran the turn."""

ATTEMPT_NUMBER: Final = "agy_actors.attempt.number"
"""The number of an attempt, from 1."""

WAIT_SECONDS: Final = "agy_actors.wait.seconds"
"""How long a turn waited."""

WAIT_REASON: Final = "agy_actors.wait.reason"
"""What it waited for: `mailbox`, `quota`, `slot` or `session`."""
