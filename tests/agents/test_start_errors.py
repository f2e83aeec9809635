"""Whether another start of an agent may succeed, and the error of the failed one."""

from __future__ import annotations

import errno

import pytest

from agy_actors import AgentStartError, ConversationInUse, UnusableConfig
from agy_actors._sdk.hook_calls import HookFailed
from agy_actors._sdk.process.spawn import ProcessEnded
from agy_actors._sdk.session_errors import ConversationHeld
from agy_actors._sdk.start_errors import (
    StartFailed,
    can_start_later,
    describe_start,
    explain_start,
    without_secrets,
)

SDKS = RuntimeError("Failed to initialize conversation at its WebSocket. Stderr: ")
REFUSED = "Failed to create agent: failed to create LocalAgent: "


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionError(),
        ConnectionResetError(),
        OSError(errno.EMFILE, "too many open files"),
        OSError(errno.EAGAIN, "no"),
        RuntimeError("can't start new thread"),
        ProcessEnded("it ended"),
        ConversationHeld("held", 1),
        ConversationInUse("in use"),
        StartFailed("later", retryable=True),
        AgentStartError("later", retryable=True),
        caused(RuntimeError("no"), OSError(errno.ENFILE, "no")),
    ],
    ids=repr,
)
def test_a_temporary_failure_is_retryable(error: Exception) -> None:
    assert can_start_later(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no key"),
        NameError("no name"),
        RuntimeError("no program"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "not allowed"),
        OSError(errno.ENOEXEC, "no program"),
        HookFailed("hook", "raised"),
        StartFailed("never", retryable=False),
        AgentStartError("never"),
        UnusableConfig("never"),
    ],
    ids=repr,
)
def test_a_permanent_failure_is_not_retryable(error: Exception) -> None:
    assert not can_start_later(error)


@pytest.mark.parametrize(
    ("words", "retryable"),
    [
        ("open backend /x.db: file is not a database", False),
        ("open backend /x.db: database is locked", True),
        ("mkdir /x: no space left on device", True),
        ("open /x: too many open files", True),
    ],
)
def test_the_harnesss_line_is_the_reason(words: str, retryable: bool) -> None:
    failure = explain_start(SDKS, REFUSED + words)

    assert failure is not None
    assert str(failure) == f"localharness did not open its conversation: {words}"
    assert failure.retryable == retryable


def test_a_harness_without_output_has_ended_or_closed_the_connection() -> None:
    failure = explain_start(SDKS, None)

    assert failure is not None
    assert "ended, or closed the connection" in str(failure)
    assert failure.retryable


def test_other_errors_of_the_sdk_explain_themselves() -> None:
    assert explain_start(ValueError("no key"), REFUSED + "nothing") is None


def test_an_error_without_secrets_is_unchanged_and_others_keep_retryable() -> None:
    def redact(text: str) -> str:
        return text.replace("secret", "[redacted]")

    plain = ValueError("no")
    clean = without_secrets(caused(ConnectionError("no"), ValueError("a secret")), redact)

    assert without_secrets(plain, redact) is plain
    assert clean.__cause__ is None
    assert describe_start(clean) == "ConnectionError: no"
    assert can_start_later(clean)
