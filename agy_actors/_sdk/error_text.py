"""Parses the error texts of the SDK and the harness. Pure functions.

The harness reports an error of the model's service in three ways, all as plain text: in an
exception, in an ERROR step, and in a line on its standard error. If it retries by itself, only the
line comes at once. The phrases below are those of google-antigravity 0.1.22.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._sdk.error_words import shorten, tidy
from agy_actors._sdk.errors import ModelError, QuotaExceeded, SetupError, TurnError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.antigravity.types import ToolCall

__all__ = [
    "QUOTA_STATUS",
    "ModelFailure",
    "diagnose",
    "failed_checkpoint",
    "is_denial",
    "model_error",
    "redact",
]

_STATUS = re.compile(
    r"HTTP request failed with status (\d{3})"  # OpenAI-compatible services
    r"|Error (\d{3}), Message:"  # Gemini
)
_RETRY_AFTER = re.compile(
    r"retryDelay[\"']?\s*:\s*[\"']?(\d+(?:\.\d+)?)s"  # google.rpc.RetryInfo
    r"|(?:retry|try again) (?:in|after) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)\s*s)?"
    r"|retry[-_ ]after[\"']?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"network issue connecting|connection reset|connection refused|unexpected EOF|broken pipe"
    r"|dial tcp|model unreachable|no such host|i/o timeout",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"denied by pre-tool hook|No policy rule matched tool|blocked due to pre-tool hook"
)
_CHECKPOINT = re.compile(r"context summarization: checkpoint step (\d+) failed")
_EXECUTOR = "failed to construct executor: "
"""The start of the text when the harness cannot start a turn."""
_CULPRITS = (
    (re.compile(r"MCP load failed for (.+?): .*", re.DOTALL), "MCP server {!r}"),
    (
        re.compile(r"failed to unmarshal tool schema for (.+?): .*", re.DOTALL),
        "the schema of tool {!r}",
    ),
    (re.compile(r'(.*"schema://schema\.json.*)', re.DOTALL), "the response_schema"),
)
_CLOSED = "client is closing"
_TEMPORARY = re.compile(
    r"deadline exceeded|context canceled|timed? ?out|too many (?:requests|open files)"
    r"|service unavailable|bad gateway",
    re.IGNORECASE,
)
QUOTA_STATUS = 429
"""Too Many Requests (RFC 6585)."""

_WRONG_ADDRESS = frozenset({301, 302, 307, 308, 404, 405, 410})
"""HTTP statuses that mean that the address is wrong (RFC 9110)."""


class ModelFailure(NamedTuple):
    """A failure according to a text: usually one of the model's service."""

    status: int | None
    retry_after: float | None
    message: str
    culprit: str | None = None
    """What failed, if it was not the service, as in "MCP server 'shop'"."""


def diagnose(text: str) -> ModelFailure | None:
    """Return the failure that a text of the SDK or the harness reports, or `None`."""
    setup = _diagnose_setup(text)
    if setup is not None:
        return setup
    found = _STATUS.search(text)
    if found is None and not _NETWORK.search(text):
        return None
    status = int(found[1] or found[2]) if found else None
    words = tidy(text)
    start = _STATUS.search(words)  # The words before the status add nothing.
    return ModelFailure(
        status, _retry_after(text), shorten(words if start is None else words[start.start() :])
    )


def failed_checkpoint(text: str) -> int | None:
    """Return the index of the step of a failed compaction, if a text reports one."""
    found = _CHECKPOINT.search(text)
    return None if found is None else int(found[1])


def _diagnose_setup(text: str) -> ModelFailure | None:
    """Return the failure that prevented a request to the model, if a text reports one."""
    _, known, words = text.rpartition(_EXECUTOR)
    words = words.removesuffix('")').replace('\\"', '"').replace("\\n", "\n")
    for pattern, culprit in _CULPRITS:
        found = pattern.search(words)
        if found is not None:
            return ModelFailure(None, None, shorten(found[0]), culprit.format(found[1]))
    return ModelFailure(None, None, shorten(words), "the configuration") if known else None


def _may_start_later(words: str) -> bool:
    """Return whether the failure that prevented a request to the model may be temporary."""
    if _CLOSED in words:  # The MCP server ended, or does not support the protocol.
        return False
    return bool(_NETWORK.search(words) or _TEMPORARY.search(words))


def is_denial(text: str) -> bool:
    """Return whether a text reports that a policy or a hook denied a tool call."""
    return bool(_DENIAL.search(text))


def model_error(
    failure: ModelFailure,
    who: str,
    *,
    service: str = "",
    text: str = "",
    tool_calls: tuple[ToolCall, ...] = (),
) -> TurnError:
    """Return the typed error for a failure.

    Args:
        failure: the failure.
        who: the agent, for the message.
        service: the address of the model's service; "" if unknown.
        text: the model's text before the failure.
        tool_calls: the tool calls before the failure.
    """
    if failure.culprit is not None:
        what = "did not start" if failure.culprit.startswith("MCP") else "cannot be used"
        return SetupError(
            f"{failure.culprit} of {who} {what}: {failure.message}",
            culprit=failure.culprit,
            retryable=_may_start_later(failure.message),
            text=text,
            tool_calls=tool_calls,
        )
    if failure.status == QUOTA_STATUS:
        when = "" if failure.retry_after is None else f"; retry in {failure.retry_after:g} s"
        return QuotaExceeded(
            f"the model's service refused {who} for its quota{when}: {failure.message}",
            retry_after=failure.retry_after,
            text=text,
            tool_calls=tool_calls,
        )
    what = "failed" if failure.status is None else f"answered {failure.status}"
    where = f" at {service}" if service and failure.status in _WRONG_ADDRESS else ""
    return ModelError(
        f"the model's service{where} {what} in a turn of {who}: {failure.message}",
        status=failure.status,
        text=text,
        tool_calls=tool_calls,
    )


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):  # One may be a prefix of another.
        text = text.replace(secret, "[redacted]")
    return text


def _retry_after(text: str) -> float | None:
    for found in _RETRY_AFTER.finditer(text):
        delay, hours, minutes, seconds, header = found.groups()
        plain = delay or header
        if plain:
            return float(plain)
        if hours or minutes or seconds:
            return 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0)
    return None
