"""`ProcessPool`: the actor that owns the processes that conversations share.

A conversation requests a lease on a process, and releases it at its end. `Placement` decides which
process it gets and when processes start and end; this actor carries that out.

Guarantees:

*   Each request gets a process, or fails with a reason, within the start timeout of the processes
    that are started for it.
*   The thread that notices the death of a process tells its lessees, without a detour through
    this actor.
*   A process that does not respond after an unclean exit is killed before the conversation that
    left gets its next process. So a conversation is never on two processes at once.
*   When this actor has stopped, all its processes have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
from typing import TYPE_CHECKING, Any, ClassVar, cast

from loguru import logger

from agy_actors._actors.actor import AsyncioActor
from agy_actors._actors.message import Message
from agy_actors._sdk.process import placement
from agy_actors._sdk.process.connect import is_responsive
from agy_actors._sdk.process.placement import Placement
from agy_actors._sdk.process.shared_process import SharedProcess
from agy_actors._sdk.process.spawn import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._sdk.process.shared_process import Lessee
    from agy_actors._sdk.process.spawn import Kind

__all__ = ["Opened", "ProcessPool", "ReleaseLease", "RequestLease"]

IDLE_TIME = 30.0
"""Seconds after which a process without conversations is ended. Arbitrary: well above the pause
between two agents of a job, short enough that users do not take it for a leak."""

_MAX_OPENINGS = 4 * (os.cpu_count() or 1)
"""Conversations that are opened at once, for each kind of process. Opening is work for the CPU, so
more would not be faster."""

_MAX_STARTS = max(2, (os.cpu_count() or 1) // 2)
"""Processes that start at once. Each start takes 0.15 s of CPU (google-antigravity 0.1.22)."""

HEALTH_CHECK_TIMEOUT = 2.0
"""Seconds for a process to respond before it counts as hung. It takes milliseconds, and tens of
them on a busy machine. Arbitrary."""


@dataclasses.dataclass(frozen=True, slots=True)
class RequestLease(Message[SharedProcess]):
    """Request a place on a process of a kind. Release it after any reply."""

    kind: Kind
    key: str
    """The fingerprint of the API key. Lines of a process about the service name no key, so
    conversations with other keys are on other processes."""
    lessee: Lessee
    conversation: str


@dataclasses.dataclass(frozen=True, slots=True)
class Opened(Message[None]):
    """Report that the conversation of a lessee is open."""

    lessee: Lessee


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseLease(Message[None]):
    """Give up the place or the request of a lessee. Repeating it is safe."""

    lessee: Lessee
    clean: bool
    """Whether the process confirmed the end of the conversation."""


@dataclasses.dataclass(eq=False, slots=True)
class _Group:
    """The processes of one kind and one API key, which conversations may share."""

    kind: Kind
    key: str
    placement: Placement
    processes: dict[int, SharedProcess] = dataclasses.field(default_factory=dict)
    error: Exception | None = None
    """The error of the last failed start."""
    idle_timers: dict[int, asyncio.TimerHandle] = dataclasses.field(default_factory=dict)
    starts: dict[int, asyncio.Task[None]] = dataclasses.field(default_factory=dict)
    leases: int = 0


@dataclasses.dataclass(eq=False, slots=True)
class _LeaseRecord:
    """The lease of one lessee, requested or granted."""

    lessee: Lessee
    conversation: str
    group: _Group
    granted: asyncio.Future[SharedProcess]


class ProcessPool(AsyncioActor):
    """Owns `localharness` processes that conversations share.

    Args:
        supervisor: the name of the supervisor, for logs.
        max_conversations: the largest number of conversations on one process.
        grace: seconds for a process to end by itself before it is killed.
        start_timeout: returns the seconds for a process to start.
    """

    use_daemon_thread: ClassVar[bool] = True  # The supervisors' exit hook stops it in order.
    _reports_failures: ClassVar[bool] = True
    stop_grace: ClassVar[float | None] = 0.0

    def __init__(
        self,
        supervisor: str,
        *,
        max_conversations: int,
        grace: float,
        start_timeout: Callable[[], float],
    ) -> None:
        super().__init__()
        self._log = logger.bind(supervisor=supervisor)
        self._max_conversations = max_conversations
        self._grace = grace
        self._start_timeout = start_timeout
        self._groups: dict[tuple[Kind, str], _Group] = {}
        self._leases: dict[Lessee, _LeaseRecord] = {}
        self._health_checks: dict[str, asyncio.Task[None]] = {}
        """The checks of processes after unclean exits, by the conversation that left."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._start_limit = asyncio.Semaphore(_MAX_STARTS)
        """Limits the starts of all groups together. Each group's placement limits its own."""
        self._ends: set[asyncio.Future[None]] = set()
        """The ends of processes that are in progress."""

    @property
    def pids(self) -> list[int]:
        """The ids of its processes. Callable from any thread."""
        # Copies, each made by one call: the actor's thread may change the dictionaries.
        groups = list(self._groups.values())
        return [process.pid for group in groups for process in list(group.processes.values())]

    def on_receive(self, message: Any) -> Any:
        match message:
            case RequestLease():
                return self._request(message)
            case Opened(lessee):
                return self._note_open(lessee)
            case ReleaseLease(lessee, clean):
                return self._release(lessee, clean=clean)
            case _:
                raise TypeError(f"a ProcessPool handles no {type(message).__name__}")

    async def on_stop(self) -> None:  # type: ignore[override] # AsyncioActor awaits it
        for record in self._leases.values():
            record.granted.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for group in self._groups.values():
            for timer in group.idle_timers.values():
                timer.cancel()
            while group.processes:
                self._end_later(group.processes.popitem()[1])
        if self._ends:
            await asyncio.wait(self._ends)

    # Messages.

    async def _request(self, request: RequestLease) -> SharedProcess:
        group = self._group(request.kind, request.key)
        granted: asyncio.Future[SharedProcess] = self._loop.create_future()
        record = _LeaseRecord(request.lessee, request.conversation, group, granted)
        self._leases[request.lessee] = record
        group.leases += 1
        check = self._health_checks.get(request.conversation)
        if check is not None:
            await asyncio.wait([check])
        if not granted.done():
            self._carry_out(group, group.placement.request(record))
        return await granted

    def _note_open(self, lessee: Lessee) -> None:
        record = self._leases.get(lessee)
        if record is not None:
            self._carry_out(record.group, record.group.placement.opened(record))

    def _release(self, lessee: Lessee, *, clean: bool) -> None:
        record = self._leases.pop(lessee, None)
        if record is None:
            return
        record.granted.cancel()
        group = record.group
        number = group.placement.process_of(record)
        process = None if number is None else group.processes.get(number)
        if process is not None:
            process.remove(lessee)
        if number is None or process is None or clean:
            self._carry_out(group, group.placement.release(record))
            self._forget(record)
            return
        self._carry_out(group, group.placement.suspect(number))
        check = self._start_task(self._check_health(record, number, process))
        self._health_checks[record.conversation] = check
        check.add_done_callback(lambda _: self._end_check(record, check))

    def _end_check(self, record: _LeaseRecord, check: asyncio.Task[None]) -> None:
        if self._health_checks.get(record.conversation) is check:
            del self._health_checks[record.conversation]
        self._forget(record)

    def _forget(self, record: _LeaseRecord) -> None:
        record.group.leases -= 1
        self._remove_if_empty(record.group)

    # Processes.

    def _group(self, kind: Kind, key: str) -> _Group:
        group = self._groups.get((kind, key))
        if group is None:
            new = Placement(
                self._max_conversations, max_openings=_MAX_OPENINGS, max_starts=_MAX_STARTS
            )
            group = self._groups[kind, key] = _Group(kind, key, new)
        return group

    def _carry_out(self, group: _Group, actions: list[placement.Action]) -> None:
        for action in actions:
            match action:
                case placement.StartProcess(number):
                    group.starts[number] = self._start_task(self._start_process(group, number))
                case placement.Assign(record, number):
                    self._grant(cast("_LeaseRecord", record), group.processes[number])
                case placement.Refuse(record):
                    self._refuse(cast("_LeaseRecord", record))
                case placement.EndIfIdle(number):
                    self._start_idle_timer(group, number)
                case placement.EndProcess(number):
                    self._end_process(group, number)

    def _grant(self, record: _LeaseRecord, process: SharedProcess) -> None:
        process.add(record.lessee)
        if not record.granted.done():
            record.granted.set_result(process)

    def _refuse(self, record: _LeaseRecord) -> None:
        if not record.granted.done():
            record.granted.set_exception(_own_copy(record.group.error))

    async def _start_process(self, group: _Group, number: int) -> None:
        def died() -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: this actor ended it.
                self._loop.call_soon_threadsafe(self._handle_death, group, number)

        try:
            async with self._start_limit:
                process = await self._spawn(group.kind, died)
        except Exception as error:  # noqa: BLE001 (the lessees that wait get it)
            self._log.debug("A localharness did not start: {}", type(error).__name__)
            group.error = error
            self._carry_out(group, group.placement.failed(number))
            self._remove_if_empty(group)
            return
        finally:
            del group.starts[number]
        self._log.debug("A localharness is up, process {}", process.pid)
        group.processes[number] = process
        process.start_reading()
        self._carry_out(group, group.placement.started(number))

    async def _spawn(self, kind: Kind, on_death: Callable[[], None]) -> SharedProcess:
        process = SharedProcess(kind, grace=self._grace, on_death=on_death)
        seconds = self._start_timeout()
        try:
            async with asyncio.timeout(seconds):
                await in_daemon_thread(process.handshake, "start")
        except TimeoutError:
            self._end_later(process)
            raise TimeoutError(f"localharness did not start within {seconds:g} seconds") from None
        except BaseException:
            self._end_later(process)
            raise
        return process

    def _handle_death(self, group: _Group, number: int) -> None:
        process = group.processes.pop(number, None)
        if process is not None:
            self._log.debug("A localharness died, process {}", process.pid)
            self._end_later(process)
            self._carry_out(group, group.placement.died(number))
            self._remove_if_empty(group)

    def _start_idle_timer(self, group: _Group, number: int) -> None:
        timer = group.idle_timers.pop(number, None)
        if timer is not None:
            timer.cancel()

        def report() -> None:
            group.idle_timers.pop(number, None)
            self._carry_out(group, group.placement.idle(number))

        group.idle_timers[number] = self._loop.call_later(IDLE_TIME, report)

    def _end_process(self, group: _Group, number: int) -> None:
        start = group.starts.get(number)
        if start is not None:
            start.cancel()
            return
        timer = group.idle_timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        process = group.processes.pop(number)
        self._log.debug("A localharness is no longer needed, process {}", process.pid)
        self._end_later(process)
        self._remove_if_empty(group)

    def _remove_if_empty(self, group: _Group) -> None:
        if group.placement.is_empty and not group.leases:
            self._groups.pop((group.kind, group.key), None)

    async def _check_health(
        self, record: _LeaseRecord, number: int, process: SharedProcess
    ) -> None:
        """Check a process after an unclean exit, and kill it if it does not respond."""
        group = record.group
        try:
            if await is_responsive(process.address, HEALTH_CHECK_TIMEOUT):
                self._carry_out(group, group.placement.release(record))
                self._carry_out(group, group.placement.clear(number))
                return
        except TimeoutError:
            if group.processes.get(number) is process and not process.has_ended:
                self._log.warning("A localharness hangs; process {} is killed", process.pid)
        if group.processes.get(number) is process:
            process.kill_and_report()
            self._handle_death(group, number)

    def _end_later(self, process: SharedProcess) -> None:
        """End a process in a thread, and release its resources."""
        try:
            end = in_daemon_thread(process.end, "end")
        except RuntimeError:  # At the interpreter's exit, no thread starts from Python 3.12 on.
            process.end()
            return
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _own_copy(error: Exception | None) -> Exception:
    """Return a copy of an error, since each lessee raises its own on its own thread."""
    try:
        return copy.copy(error) or RuntimeError("localharness did not start")
    except TypeError:  # It cannot be copied.
        return RuntimeError(f"localharness did not start: {type(error).__name__}: {error}")
