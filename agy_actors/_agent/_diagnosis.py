"""Reads the SDK's errors, and the harness's words in them: pure functions of text.

The harness reports a model's error in three ways, none of them structured: as the text
of an exception, as the text of an ERROR step, and as a line on its standard error,
which alone comes at once when it means to try again by itself (DESIGN, F1 to F3). The
phrases below are those of google-antigravity 0.1.22.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agy_actors._agent._errors import ModelError, QuotaExceeded, SetupError, TurnError

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
    "shorten",
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
"""How the harness begins what kept it from beginning a turn."""
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
"""HTTP statuses that say that something else is at an address (RFC 9110)."""

_LENGTH = 500  # Characters of a service's message in ours: enough to act on, and no page of HTML.


class ModelFailure(NamedTuple):
    """What a text says that failed: the model's service, as a rule."""

    status: int | None
    retry_after: float | None
    message: str
    culprit: str | None = None
    """What failed in place of the service, as in "MCP server 'shop'"."""


def diagnose(text: str) -> ModelFailure | None:
    """Return what a text of the SDK or the harness says that failed, if anything."""
    setup = _diagnose_setup(text)
    if setup is not None:
        return setup
    found = _STATUS.search(text)
    if found is None and not _NETWORK.search(text):
        return None
    status = int(found[1] or found[2]) if found else None
    return ModelFailure(
        status, _retry_after(text), shorten(text[found.start() :] if found else text)
    )


def failed_checkpoint(text: str) -> int | None:
    """Return the index of the step in which a compaction failed, if a text says that one did."""
    found = _CHECKPOINT.search(text)
    return None if found is None else int(found[1])


def _diagnose_setup(text: str) -> ModelFailure | None:
    """Return what kept the harness from asking the model, if a text says so."""
    _, known, words = text.rpartition(_EXECUTOR)
    words = words.removesuffix('")').replace('\\"', '"').replace("\\n", "\n")
    for pattern, culprit in _CULPRITS:
        found = pattern.search(words)
        if found is not None:
            return ModelFailure(None, None, shorten(found[0]), culprit.format(found[1]))
    return ModelFailure(None, None, shorten(words), "the configuration") if known else None


def _may_start_later(words: str) -> bool:
    """Return whether what kept the harness from asking the model may be gone the next time."""
    if _CLOSED in words:  # By an MCP server that ended, or does not speak the protocol.
        return False
    return bool(_NETWORK.search(words) or _TEMPORARY.search(words))


def is_denial(text: str) -> bool:
    """Return whether a text says that a policy or a hook denied a tool's call."""
    return bool(_DENIAL.search(text))


def model_error(
    failure: ModelFailure,
    who: str,
    *,
    service: str = "",
    text: str = "",
    tool_calls: tuple[ToolCall, ...] = (),
) -> TurnError:
    """Make the typed error for a failure.

    Args:
        failure: the failure.
        who: the agent, for the message.
        service: the address of the model's service, where it is known.
        text: what the model had said before.
        tool_calls: the tool calls before.
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
    """Return the text without any of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):  # One may be the beginning of another.
        text = text.replace(secret, "[redacted]")
    return text


def shorten(text: str) -> str:
    """Return a service's words as one line of bearable length."""
    text = " ".join(text.split())
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]} …"


def _retry_after(text: str) -> float | None:
    for found in _RETRY_AFTER.finditer(text):
        delay, hours, minutes, seconds, header = found.groups()
        plain = delay or header
        if plain:
            return float(plain)
        if hours or minutes or seconds:
            return 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0)
    return None
