import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from agy_actors._actors import runtime as runtime_module
from agy_actors._actors.event_loop import new_event_loop
from agy_actors._actors.runtime import ThreadRuntime, current_runtime, use_runtime
from tests.actors.doers import PATIENCE, Do, Doer
from tests.looks import count_looks

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef


class NoThreads(ThreadRuntime):
    """A runtime without free resources."""

    def run_actor(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        *,
        on_exit: Callable[[], None],
        name: str,
        daemon: bool,
    ) -> None:
        raise RuntimeError("can't start new thread")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.AbstractEventLoop:
    """Run a main coroutine on a runtime's thread to its end, and return its loop."""
    loops: list[asyncio.AbstractEventLoop] = []
    ended = threading.Event()

    async def note_loop() -> None:
        loops.append(asyncio.get_running_loop())
        await main()

    ThreadRuntime().run_actor(note_loop, on_exit=ended.set, name="main", daemon=False)
    assert ended.wait(PATIENCE)
    return loops[0]


def test_each_actor_has_its_own_thread_and_loop() -> None:
    refs = [Doer.start() for _ in range(3)]

    threads = {ref.ask(Do(lambda _: threading.get_ident())) for ref in refs}
    loops = {ref.ask(Do(lambda _: asyncio.get_running_loop())) for ref in refs}

    assert len(threads) == len(loops) == 3
    assert threading.get_ident() not in threads
    for ref in refs:
        ref.stop()


@pytest.mark.parametrize("daemon", [False, True])
def test_the_thread_is_named_after_the_actor_and_a_daemon_if_wanted(daemon: bool) -> None:
    class Named(Doer):
        use_daemon_thread = daemon

    ref = Named.start()
    thread = ref.ask(Do(lambda _: threading.current_thread()))

    assert thread.name.startswith("Named-")
    assert thread.daemon is daemon
    ref.stop()


def test_an_actor_that_cannot_start_is_not_left_in_the_registry() -> None:
    refs: list[Any] = []

    class Kept(Doer):
        def __init__(self) -> None:
            super().__init__()
            refs.append(self.actor_ref)

    with use_runtime(NoThreads()), pytest.raises(RuntimeError, match="can't start"):
        Kept.start()

    assert refs[0] not in pykka.ActorRegistry.get_all()
    assert not refs[0].is_alive()
    assert refs[0].stop() is False
    with pytest.raises(pykka.ActorDeadError) as caught:
        refs[0].ask("message")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_lack_of_threads_leaves_no_loop_open(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    make = new_event_loop

    def make_and_note() -> asyncio.AbstractEventLoop:
        loops.append(make())
        return loops[-1]

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(runtime_module, "new_event_loop", make_and_note)
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        Doer.start()

    assert loops[0].is_closed()


def test_an_incarnation_that_cannot_start_leaves_waiting_messages_to_the_next_one() -> None:
    first, second, third = Doer(), Doer(), Doer()
    ref = first.actor_ref
    pykka.ActorRegistry.register(ref)
    reply = ref.ask("message", block=False)
    second._runtime = NoThreads()
    with pytest.raises(RuntimeError):
        second._take_over(ref)._begin()

    third._take_over(ref)._begin()

    assert reply.get(timeout=PATIENCE) == "message"
    ref.stop()


def test_actors_are_started_on_the_host_that_is_in_use() -> None:
    runtime = ThreadRuntime()

    with use_runtime(runtime):
        ref = Doer.start()
    assert current_runtime() is not runtime

    assert ref.ask(Do(lambda _: current_runtime())) is runtime
    ref.stop()


def test_tasks_that_are_left_over_are_cancelled_and_the_loop_is_closed() -> None:
    ends: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    async def main() -> None:
        tasks.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    loop = run(main)

    assert ends == ["cancelled"]
    assert loop.is_closed()


def test_the_end_of_an_actor_reads_no_task_of_another() -> None:
    class Busy(Doer):
        async def on_start(self) -> None:  # type: ignore[override] # or async
            self.tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(20)]

    looks: list[int] = []
    refs: list[AsyncioActorRef] = []
    for others in (2, 20):
        refs += [Busy.start() for _ in range(others - len(refs))]
        for ref in refs:
            ref.ask("message")  # It has started.

        looks.append(count_looks(lambda: Busy.start().stop()))
    for ref in refs:
        ref.stop()

    # The number of a thread's sleeps differs a little. There are 360 more tasks of others, and
    # reading each takes at least two lines.
    assert looks[1] < looks[0] + 360


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
def test_the_loop_is_closed_although_left_over_tasks_and_generators_fail(
    error: type[BaseException],
) -> None:
    kept: list[Any] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            kept.append("generator closed")
            if error is not ValueError:
                raise error

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    async def main() -> None:
        kept.extend(asyncio.create_task(linger()) for _ in range(2))
        generator = generate()
        kept.append(generator)
        await anext(generator)
        await asyncio.sleep(0)

    loop = run(main)

    assert loop.is_closed()
    assert kept[-1] == "generator closed"
    assert all(isinstance(task.exception(), error) for task in kept[:2])


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_main_coroutine_may_raise_any_exception(error: type[BaseException]) -> None:
    async def main() -> None:
        raise error

    assert run(main).is_closed()


def test_a_tool_that_never_returns_does_not_hold_up_the_end() -> None:
    let_go = threading.Event()
    ref = Doer.start()

    def start(actor: Doer) -> None:
        actor._loop.run_in_executor(None, let_go.wait, PATIENCE)

    ref.ask(Do(start))

    assert ref.stop(timeout=PATIENCE)
    let_go.set()
