"""Runs code in a forked child of the test process, and returns its result."""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_child", "outcome", "start_child"]

PATIENCE = 20.0
"""Seconds for a child. Arbitrary; only a hanging child takes this long."""


def in_child(work: Callable[[], Any]) -> Any:
    """Fork, call `work` in the child, and return its result, which must be picklable.

    The test fails if the child raises, writes to standard error or hangs.
    """
    read, write = os.pipe()
    complaints_read, complaints_write = os.pipe()
    pid = _fork()
    if pid == 0:
        os.dup2(complaints_write, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)  # pytest has replaced `sys.stderr`.
        answer: tuple[bool, Any]
        try:
            answer = (True, work())
        except BaseException:  # noqa: BLE001 (reported to the test)
            answer = (False, traceback.format_exc())
        sys.stderr.flush()
        os.write(write, pickle.dumps(answer))
        os._exit(0)
    os.close(write)
    os.close(complaints_write)
    try:
        answer_there, _, _ = select.select([read], [], [], PATIENCE)
        if not answer_there:
            pytest.fail("the forked child hangs")
        with os.fdopen(read, "rb", closefd=False) as pipe:
            succeeded, result = pickle.loads(pipe.read())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        complaints = os.read(complaints_read, 65536).decode()
        os.close(read)
        os.close(complaints_read)
    assert succeeded, result
    assert complaints == ""
    return result


def outcome(use: Callable[[], Any]) -> str:
    """Describe the result of a call, or its error with the process id in it."""
    try:
        result = use()
    except Exception as error:  # noqa: BLE001 (compared by the test)
        return f"{type(error).__name__} {getattr(error, 'parent_pid', error)}"
    return f"returned {result!r}"


def start_child(work: Callable[[], Any]) -> int:
    """Fork a child that calls `work`, and return its process id."""
    pid = _fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the test has threads.
        return os.fork()
