import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pykka
import pytest

from agy_actors._kernel import ThreadHost, _host, current_host, use_host
from agy_actors._kernel._loop import new_event_loop
from tests.kernel._actors import PATIENCE, Do, Doer


class NoThreads(ThreadHost):
    """A host that is at the end of its resources."""

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
    """Run a main coroutine on a host's thread to its end, and return its loop."""
    loops: list[asyncio.AbstractEventLoop] = []
    ended = threading.Event()

    async def note_loop() -> None:
        loops.append(asyncio.get_running_loop())
        await main()

    ThreadHost().run_actor(note_loop, on_exit=ended.set, name="main", daemon=False)
    assert ended.wait(PATIENCE)
    return loops[0]


def test_each_actor_has_a_thread_and_a_loop_of_its_own() -> None:
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

    with use_host(NoThreads()), pytest.raises(RuntimeError, match="can't start"):
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

    monkeypatch.setattr(_host, "new_event_loop", make_and_note)
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        Doer.start()

    assert loops[0].is_closed()


def test_a_successor_that_cannot_start_leaves_what_waits_to_the_next() -> None:
    first, second, third = Doer(), Doer(), Doer()
    ref = first.actor_ref
    pykka.ActorRegistry.register(ref)
    reply = ref.ask("message", block=False)
    second._host = NoThreads()
    with pytest.raises(RuntimeError):
        second.succeed(ref).begin()

    third.succeed(ref).begin()

    assert reply.get(timeout=PATIENCE) == "message"
    ref.stop()


def test_actors_are_started_on_the_host_that_is_in_use() -> None:
    host = ThreadHost()

    with use_host(host):
        ref = Doer.start()
    assert current_host() is not host

    assert ref.ask(Do(lambda _: current_host())) is host
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
def test_a_main_coroutine_may_raise_what_it_likes(error: type[BaseException]) -> None:
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
