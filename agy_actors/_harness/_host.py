"""`HarnessHost`: the actor that owns the processes which conversations share.

Who wants a place in one asks for it, and says when it leaves. Which process that is, and
when one begins or ends, is decided in `_fleet`; here it is carried out.

Guarantees:

*   Whoever asks for a place gets one or is told why not, within the boot timeout of the
    processes that are begun for it.
*   A process's death is told to all of its tenants by the thread that notices it, without
    a detour over this actor.
*   A process that does not answer when one of its tenants left in strife is killed, before
    that conversation gets its next place. So it is never in two processes at once.
*   When the host has ended, so have all of its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
from typing import TYPE_CHECKING, Any, ClassVar, cast

from loguru import logger

from agy_actors._harness import _fleet as fleet
from agy_actors._harness._boot import in_daemon_thread
from agy_actors._harness._connect import answers
from agy_actors._harness._fleet import Fleet
from agy_actors._harness._shared import SharedProcess
from agy_actors._kernel import AsyncioActor, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._harness._boot import Kind
    from agy_actors._harness._shared import Tenant

__all__ = ["HarnessHost", "Lease", "Leave", "Opened"]

QUIET = 30.0
"""Seconds after which a process without conversations is ended. Arbitrary: well above the
pause between two agents of a job, well below what anybody would take for a leak."""

_OPENINGS = 4 * (os.cpu_count() or 1)
"""How many conversations are opened at once. More brings nothing: what takes time in
opening is work."""

_BEGINNINGS = max(2, (os.cpu_count() or 1) // 2)
"""How many processes begin at once: each takes 0.15 s of CPU (DESIGN, F13)."""

PROBE = 2.0
"""Seconds for a process to answer before it counts as hung. It takes milliseconds, and
tens of them on a busy machine; arbitrary."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lease(Message[SharedProcess]):
    """Ask for a place in a process of a kind. Leave it, whatever comes of this."""

    kind: Kind
    key: str
    """The fingerprint of the API key. What a process says of a service it says of this key,
    without a name; so those of other keys are on other processes."""
    tenant: Tenant
    conversation: str


@dataclasses.dataclass(frozen=True, slots=True)
class Opened(Message[None]):
    """Tell that a tenant's conversation is open, or will not be."""

    tenant: Tenant


@dataclasses.dataclass(frozen=True, slots=True)
class Leave(Message[None]):
    """Tell that a tenant has left, or asks for a place no more. Safe to tell twice."""

    tenant: Tenant
    peacefully: bool
    """Whether the process agreed to that."""


@dataclasses.dataclass(eq=False, slots=True)
class _Group:
    """The processes of one kind that may be shared: those for one API key."""

    kind: Kind
    key: str
    fleet: Fleet
    processes: dict[int, SharedProcess] = dataclasses.field(default_factory=dict)
    error: Exception | None = None
    """What the last start failed with."""
    quiet: dict[int, asyncio.TimerHandle] = dataclasses.field(default_factory=dict)
    beginnings: dict[int, asyncio.Task[None]] = dataclasses.field(default_factory=dict)
    guests: int = 0


@dataclasses.dataclass(eq=False, slots=True)
class _Guest:
    """A tenant that has a place or asks for one."""

    tenant: Tenant
    conversation: str
    group: _Group
    placed: asyncio.Future[SharedProcess]


class HarnessHost(AsyncioActor):
    """Owns `localharness` processes and lets conversations share them.

    Args:
        supervisor: whose they are, for logs.
        most: how many conversations one process holds at most.
        grace: seconds for a process to end by itself before it is killed.
        boot_timeout: returns the seconds for a process to come up.
    """

    use_daemon_thread: ClassVar[bool] = True  # The supervisors' exit hook ends it in order.
    stop_grace: ClassVar[float | None] = 0.0

    def __init__(
        self,
        supervisor: str,
        *,
        most: int,
        grace: float,
        boot_timeout: Callable[[], float],
    ) -> None:
        super().__init__()
        self._log = logger.bind(supervisor=supervisor)
        self._most = most
        self._grace = grace
        self._boot_timeout = boot_timeout
        self._groups: dict[tuple[Kind, str], _Group] = {}
        self._guests: dict[Tenant, _Guest] = {}
        self._strife: dict[str, asyncio.Task[None]] = {}
        """Checks of processes that were left in strife, by the conversation that left."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._places_to_begin = asyncio.Semaphore(_BEGINNINGS)
        """For the processes of all kinds and keys; each fleet sees to its own as well."""
        self._ends: set[asyncio.Future[None]] = set()
        """Of processes, under way."""

    def on_receive(self, message: Any) -> Any:
        match message:
            case Lease():
                return self._lease(message)
            case Opened(tenant):
                return self._note_open(tenant)
            case Leave(tenant, peacefully):
                return self._let_go(tenant, peacefully=peacefully)
            case _:
                raise TypeError(f"the harness host answers no {type(message).__name__}")

    async def on_stop(self) -> None:  # type: ignore[override] # the kernel awaits it
        for guest in self._guests.values():
            guest.placed.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for group in self._groups.values():
            for timer in group.quiet.values():
                timer.cancel()
            while group.processes:
                self._finish(group.processes.popitem()[1])
        if self._ends:
            await asyncio.wait(self._ends)

    # Messages.

    async def _lease(self, lease: Lease) -> SharedProcess:
        group = self._group(lease.kind, lease.key)
        placed: asyncio.Future[SharedProcess] = self._loop.create_future()
        guest = _Guest(lease.tenant, lease.conversation, group, placed)
        self._guests[lease.tenant] = guest
        group.guests += 1
        check = self._strife.get(lease.conversation)
        if check is not None:
            await asyncio.wait([check])
        if not placed.done():
            self._carry_out(group, group.fleet.want(guest))
        return await placed

    def _note_open(self, tenant: Tenant) -> None:
        guest = self._guests.get(tenant)
        if guest is not None:
            self._carry_out(guest.group, guest.group.fleet.opened(guest))

    def _let_go(self, tenant: Tenant, *, peacefully: bool) -> None:
        guest = self._guests.pop(tenant, None)
        if guest is None:
            return
        guest.placed.cancel()
        fleet = guest.group.fleet
        number = fleet.process_of(guest)
        process = None if number is None else guest.group.processes.get(number)
        if process is not None:
            process.remove(tenant)
        if number is None or process is None or peacefully:
            self._carry_out(guest.group, fleet.leave(guest))
            self._see_off(guest)
            return
        self._carry_out(guest.group, fleet.doubt(number))
        check = self._do(self._check(guest, number, process))
        self._strife[guest.conversation] = check
        check.add_done_callback(lambda _: self._end_strife(guest, check))

    def _end_strife(self, guest: _Guest, check: asyncio.Task[None]) -> None:
        if self._strife.get(guest.conversation) is check:
            del self._strife[guest.conversation]
        self._see_off(guest)

    def _see_off(self, guest: _Guest) -> None:
        guest.group.guests -= 1
        self._forget_if_empty(guest.group)

    # Processes.

    def _group(self, kind: Kind, key: str) -> _Group:
        group = self._groups.get((kind, key))
        if group is None:
            new = Fleet(self._most, openings=_OPENINGS, beginnings=_BEGINNINGS)
            group = self._groups[kind, key] = _Group(kind, key, new)
        return group

    def _carry_out(self, group: _Group, actions: list[fleet.Action]) -> None:
        for action in actions:
            match action:
                case fleet.Begin(number):
                    group.beginnings[number] = self._do(self._begin_process(group, number))
                case fleet.Place(guest, number):
                    self._place(cast("_Guest", guest), group.processes[number])
                case fleet.Refuse(guest):
                    self._refuse(cast("_Guest", guest))
                case fleet.EndIfQuiet(number):
                    self._wait_for_quiet(group, number)
                case fleet.End(number):
                    self._end_process(group, number)

    def _place(self, guest: _Guest, process: SharedProcess) -> None:
        process.add(guest.tenant)
        if not guest.placed.done():
            guest.placed.set_result(process)

    def _refuse(self, guest: _Guest) -> None:
        if not guest.placed.done():
            guest.placed.set_exception(_own_copy(guest.group.error))

    async def _begin_process(self, group: _Group, number: int) -> None:
        def died() -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: it was ended by us.
                self._loop.call_soon_threadsafe(self._lose, group, number)

        try:
            async with self._places_to_begin:
                process = await self._boot(group.kind, died)
        except Exception as error:  # noqa: BLE001 (it belongs to those who wait)
            self._log.debug("A localharness did not start: {}", type(error).__name__)
            group.error = error
            self._carry_out(group, group.fleet.failed(number))
            self._forget_if_empty(group)
            return
        finally:
            del group.beginnings[number]
        self._log.debug("A localharness is up, process {}", process.pid)
        group.processes[number] = process
        process.listen()
        self._carry_out(group, group.fleet.is_up(number))

    async def _boot(self, kind: Kind, on_death: Callable[[], None]) -> SharedProcess:
        process = SharedProcess(kind, grace=self._grace, on_death=on_death)
        within = self._boot_timeout()
        try:
            async with asyncio.timeout(within):
                await in_daemon_thread(process.shake_hands, "start")
        except TimeoutError:
            self._finish(process)
            raise TimeoutError(f"localharness did not come up within {within:g} seconds") from None
        except BaseException:
            self._finish(process)
            raise
        return process

    def _lose(self, group: _Group, number: int) -> None:
        """See to what is left of a process that has died."""
        process = group.processes.pop(number, None)
        if process is not None:
            self._log.debug("A localharness died, process {}", process.pid)
            self._finish(process)
            self._carry_out(group, group.fleet.died(number))
            self._forget_if_empty(group)

    def _wait_for_quiet(self, group: _Group, number: int) -> None:
        timer = group.quiet.pop(number, None)
        if timer is not None:
            timer.cancel()

        def look() -> None:
            group.quiet.pop(number, None)
            self._carry_out(group, group.fleet.quiet(number))

        group.quiet[number] = self._loop.call_later(QUIET, look)

    def _end_process(self, group: _Group, number: int) -> None:
        beginning = group.beginnings.get(number)
        if beginning is not None:
            beginning.cancel()
            return
        timer = group.quiet.pop(number, None)
        if timer is not None:
            timer.cancel()
        process = group.processes.pop(number)
        self._log.debug("A localharness is not needed any more, process {}", process.pid)
        self._finish(process)
        self._forget_if_empty(group)

    def _forget_if_empty(self, group: _Group) -> None:
        if group.fleet.is_empty and not group.guests:
            self._groups.pop((group.kind, group.key), None)

    async def _check(self, guest: _Guest, number: int, process: SharedProcess) -> None:
        """See whether a process still works that a tenant left in strife."""
        group = guest.group
        try:
            if await answers(process.address, PROBE):
                self._carry_out(group, group.fleet.leave(guest))
                self._carry_out(group, group.fleet.trust(number))
                return
        except TimeoutError:
            if group.processes.get(number) is process and not process.has_ended:
                self._log.warning("A localharness hangs; process {} is killed", process.pid)
        if group.processes.get(number) is process:
            process.give_up()
            self._lose(group, number)

    def _finish(self, process: SharedProcess) -> None:
        """See to it that nothing is left of a process."""
        try:
            end = in_daemon_thread(process.end, "end")
        except RuntimeError:  # The interpreter ends: from Python 3.12 on, no thread begins then.
            process.end()
            return
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _own_copy(error: Exception | None) -> Exception:
    """Return an error for one of those that share a cause, to raise on its own thread."""
    try:
        return copy.copy(error) or RuntimeError("localharness did not start")
    except TypeError:  # It cannot be copied.
        return RuntimeError(f"localharness did not start: {type(error).__name__}: {error}")
