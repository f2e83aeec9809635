"""The lock of a conversation."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agy_actors import AgentStartError, ConversationInUse
from agy_actors._sdk import conversation_lock as ownership
from agy_actors._sdk.conversation_lock import ConversationLock, Holder
from tests import programs
from tests.slow import quick

if TYPE_CHECKING:
    from pathlib import Path

ID = "0123456789abcdef0123456789abcdef"


def lock_of(folder: Path | str, who: str = "agent 'x'") -> ConversationLock:
    return ConversationLock(folder, ID, who)


@pytest.fixture
def lock(tmp_path: Path) -> Any:
    lock = lock_of(tmp_path)
    yield lock
    lock.release()


def refusal(lock: ConversationLock) -> ConversationInUse:
    with pytest.raises(ConversationInUse) as caught:
        lock.take()
    return caught.value


def test_the_file_names_its_holder_and_only_its_owner_may_read_it(
    lock: ConversationLock, tmp_path: Path
) -> None:
    before = time.time()
    mask = os.umask(0)
    try:
        lock.take()
    finally:
        os.umask(mask)

    path = tmp_path / f"{ID}.lock"
    facts = json.loads(path.read_text())
    assert (facts["pid"], facts["host"]) == (os.getpid(), socket.gethostname())
    assert before <= facts["since"] <= time.time()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_lock_is_refused_and_names_the_holder(
    lock: ConversationLock, tmp_path: Path
) -> None:
    lock.take()

    error = refusal(lock_of(tmp_path, "agent 'poet'"))

    assert isinstance(error, AgentStartError)
    assert error.retryable
    assert (error.conversation_id, error.pid, error.host) == (
        ID,
        os.getpid(),
        socket.gethostname(),
    )
    assert error.since is not None
    for words in ("agent 'poet'", ID, str(tmp_path), f"process {os.getpid()} (this one)", "+00:00"):
        assert words in str(error)


@pytest.mark.parametrize("known", [True, False], ids=["flock", "no-fcntl"])
def test_a_released_lock_is_free_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(ownership, "fcntl", None)
    first, second = lock_of(tmp_path), lock_of(tmp_path)

    for _ in range(3):
        first.take()
        first.take()
        assert refusal(second).pid == os.getpid()
        first.release()
        first.release()
        second.take()
        assert refusal(first).pid == os.getpid()
        second.release()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_the_same_under_all_its_names(
    lock: ConversationLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    lock.take()

    for name in (".", "./sub/..", "link", "link/link", f"{tmp_path}/", tmp_path / "sub" / ".."):
        assert refusal(lock_of(name)).pid == os.getpid()


def test_a_folder_that_is_also_mounted_elsewhere_is_the_same_folder(
    lock: ConversationLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.take()
    monkeypatch.setattr(ownership, "_held", {})  # As if the path were another one.

    assert refusal(lock_of(tmp_path)).pid == os.getpid()


def test_a_file_that_a_killed_holder_left_is_taken_over(
    lock: ConversationLock, tmp_path: Path
) -> None:
    path = tmp_path / f"{ID}.lock"
    path.write_bytes(Holder(1, "elsewhere", 5.0).write() + b" " * 500)

    lock.take()

    assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pid": 12, "ho',
        b"\xff\x00",
        b"[1]",
        b"null",
        b'{"pid": true, "host": 3, "since": "then"}',
        b'{"pid": -4, "host": "", "since": 1e400}',
        b'{"pid": 1.5, "since": NaN}',
        b'{"since": 1e300}',
    ],
)
def test_an_invalid_lock_file_names_no_holder(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"{ID}.lock"
    path.write_bytes(content)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        error = refusal(lock_of(tmp_path))

    assert (error.pid, error.host, error.since) == (None, None, None)
    assert "an unknown program" in str(error)


def test_a_file_that_replaced_the_lock_file_is_not_removed(
    lock: ConversationLock, tmp_path: Path
) -> None:
    path = tmp_path / f"{ID}.lock"
    lock.take()
    path.unlink()
    path.write_text("another's")

    lock.release()

    assert path.read_text() == "another's"


def test_a_lock_that_was_renounced_is_free_and_never_held_again(tmp_path: Path) -> None:
    abandoned, successor = lock_of(tmp_path), lock_of(tmp_path)
    abandoned.take()

    abandoned.renounce()
    successor.take()

    abandoned.release()
    with pytest.raises(AgentStartError, match="abandoned"):
        abandoned.take()
    assert refusal(lock_of(tmp_path)).pid == os.getpid()
    successor.release()
    with pytest.raises(AgentStartError, match="abandoned"):
        abandoned.take()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_that_cannot_be_locked_is_named(
    lock: ConversationLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with pytest.raises(OSError, match="cannot be locked") as caught:
            lock.take()

    assert caught.value.errno == code
    assert str(tmp_path / f"{ID}.lock") in str(caught.value)
    lock.take()


def test_a_file_that_cannot_be_made_is_named(lock: ConversationLock, tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.lock"
    path.mkdir()

    with pytest.raises(IsADirectoryError, match="cannot be made") as caught:
        lock.take()

    assert str(path) in str(caught.value)


def test_a_full_disk_does_not_prevent_an_owner(
    lock: ConversationLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        lock.take()

    # This process knows the holder from its own registry.
    assert refusal(lock_of(tmp_path)).pid == os.getpid()


def test_taking_and_releasing_leaves_no_descriptor(tmp_path: Path) -> None:
    lock, other = lock_of(tmp_path), lock_of(tmp_path)
    lock.take()
    refusal(other)
    lock.release()
    before = psutil.Process().num_fds()

    for _ in range(20):
        lock.take()
        refusal(other)
        lock.release()

    assert psutil.Process().num_fds() == before


def run(program: str, *args: object) -> str:
    done = programs.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


CONTEND = """
import os, sys
from agy_actors import ConversationInUse
from agy_actors._sdk.conversation_lock import ConversationLock
folder, conversation, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
children = [os.fork() for _ in range(4)]
marker = os.path.join(folder, "owner")
for _ in range(times if 0 in children else 0):
    lock = ConversationLock(folder, conversation, "x")
    while True:
        try:
            lock.take()
            break
        except ConversationInUse:
            pass
    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))  # Fails if there are two owners.
    os.unlink(marker)
    lock.release()
if 0 not in children:
    codes = [os.waitpid(child, 0)[1] for child in children]
    assert codes == [0] * 4, codes
"""


@pytest.mark.parametrize("times", quick([5, 50], 0))
def test_one_of_several_contending_programs_is_the_owner_at_a_time(
    tmp_path: Path, times: int
) -> None:
    run(CONTEND, tmp_path, ID, times)

    assert list(tmp_path.iterdir()) == []


FORK = """
import os, sys, gc
from agy_actors import ConversationInUse
from agy_actors._sdk.conversation_lock import ConversationLock
folder, conversation = sys.argv[1:]
lock = ConversationLock(folder, conversation, "parent")
lock.take()
parent = os.getpid()
descriptor = lock._descriptor
child = os.fork()
if child == 0:
    reused = os.open("/dev/null", os.O_RDONLY)
    assert reused == descriptor, "the child has a copy"
    assert not lock.held
    lock.release()
    lock.renounce()
    del lock
    gc.collect()
    os.fstat(reused)
    try:
        ConversationLock(folder, conversation, "child").take()
    except ConversationInUse as error:
        assert error.pid == parent, error
    else:
        raise AssertionError("the child released its parent's lock")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert os.path.exists(os.path.join(folder, conversation + ".lock"))
try:
    ConversationLock(folder, conversation, "other").take()
except ConversationInUse:
    pass
else:
    raise AssertionError("the fork released the lock")
lock.release()
ConversationLock(folder, conversation, "other").take()
"""


def test_a_forked_child_neither_keeps_nor_releases_the_lock_and_closes_no_other_file(
    tmp_path: Path,
) -> None:
    run(FORK, tmp_path, ID)


FORKS_DURING = """
import os, sys, threading
from agy_actors._sdk.conversation_lock import ConversationLock
folder, conversation = sys.argv[1:]
over = threading.Event()
def take_and_release():
    lock = ConversationLock(folder, conversation, "x")
    while not over.is_set():
        lock.take()
        lock.release()
thread = threading.Thread(target=take_and_release)
thread.start()
for _ in range(100):
    child = os.fork()
    if child == 0:
        names = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                 if os.path.exists(f"/proc/self/fd/{n}")]
        os._exit(any(".lock" in name for name in names))
    assert os.waitpid(child, 0)[1] == 0, "a child has a copy"
over.set()
thread.join()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_takes_a_lock_copies_no_descriptor(tmp_path: Path) -> None:
    run(FORKS_DURING, tmp_path, ID)


KILLED = """
import os, sys, time
from agy_actors._sdk.conversation_lock import ConversationLock
before = os.fork()
if before:
    lock = ConversationLock(sys.argv[1], sys.argv[2], "x")
    lock.take()
    os.fork()
# Each has forked before it writes. One call writes the whole line: all three share the pipe.
os.write(1, f"{os.getpid()}{os.linesep}".encode())
time.sleep(600)
"""


def test_a_killed_holder_frees_its_lock_at_once_although_its_children_live(
    lock: ConversationLock, tmp_path: Path
) -> None:
    holder = programs.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), ID], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    pids = {int(holder.stdout.readline()) for _ in range(3)}
    children = pids - {holder.pid}
    assert refusal(lock).pid == holder.pid

    holder.kill()
    holder.wait()

    lock.take()
    for child in children:
        os.kill(child, 9)
    holder.stdout.close()
