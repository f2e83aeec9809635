"""Threads that ask in every style, and record the results."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from google.antigravity.types import Text

from agy_actors import AgentRef, AgyActorsError, AskTimeout, Chat, GetStatistics, PoolRef
from tests.soak.chaos._ledger import Ask
from tests.soak.chaos._plan import Prompt, Style, draw_fault, draw_style
from tests.soak.chaos._world import CHAT_TIMEOUT, HANG_TIMEOUT, STALL_TIMEOUT

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from agy_actors import ChatReply, ChatStream, ReplyFuture
    from tests.soak.chaos._world import Home

__all__ = ["Caller", "Mapper", "Worker"]

_ONE_TURN = 2 * CHAT_TIMEOUT + 10.0 + HANG_TIMEOUT + 10.0
"""Seconds within which the next turn ends, despite any fault: the wait for its key's quota, its
timeout, ten for its cancellation, the time to find that the agent hangs, and ten for restarts with
their backoff."""

_LONGEST = 3 * _ONE_TURN
"""The same with two turns before it: an agent has two callers, and each may have a turn that is
being cancelled."""

_QUERY = HANG_TIMEOUT + 15.0
"""The same for a query, which waits only for a restart."""

_LAST = 5.0  # Additional seconds before a caller counts an ask as lost.


class Worker(threading.Thread):
    """A thread that runs until the soak ends."""

    def __init__(self, name: str, chance: random.Random, over: threading.Event) -> None:
        super().__init__(name=name)
        self.asks: list[Ask] = []
        self.queries: list[float] = []
        self.wrong: list[str] = []
        self.actions: Counter[str] = Counter()
        self.without = 0
        """How many times there was no agent to ask."""
        self._chance = chance
        self._over = over
        self._count = 0

    def run(self) -> None:
        """Work until the soak ends."""
        while not self._over.is_set():
            try:
                self._work()
            except AgyActorsError as error:
                self._note_trouble(error)
            except BaseException as error:  # noqa: BLE001 (a soak reports it and continues)
                self.wrong.append(f"{self.name} met {error!r}")
                return

    def failures(self) -> list[str]:
        """Return the violations, after the end."""
        return self.wrong

    def _work(self) -> None:
        raise NotImplementedError

    def _note_trouble(self, error: AgyActorsError) -> None:
        del error  # There was no agent to ask: for example, it was killed at its start.
        self.without += 1
        self._over.wait(0.2)


class Caller(Worker):
    """Asks one agent or pool repeatedly."""

    def __init__(
        self, number: int, home: Home, chance: random.Random, over: threading.Event, pause: float
    ) -> None:
        super().__init__(f"caller-{number}-{home.name}", chance, over)
        self._number = number
        self._home = home
        self._pause = pause

    def _work(self) -> None:
        ref = self._home.ref()
        assert isinstance(ref, AgentRef | PoolRef)
        if self._chance.random() < 0.1:
            self._query(ref)
        self._count += 1
        prompt = Prompt(f"q{self._number}x{self._count}", draw_fault(self._chance))
        style = draw_style(self._chance)
        now = time.monotonic()
        ask = Ask(prompt, style, self._home.name, now, now + _LONGEST)
        try:
            _DO[style](self, ref, ask)
        except BaseException as error:  # noqa: BLE001 (it is judged at the end)
            ask.error = error
        ask.ended = time.monotonic()
        self.asks.append(ask)
        self._over.wait(self._chance.expovariate(1 / self._pause))

    def _query(self, ref: AgentRef | PoolRef) -> None:
        started = time.monotonic()
        try:
            if isinstance(ref, PoolRef):
                ref.statistics()
            else:
                ref.ask(GetStatistics(), timeout=_QUERY)
        except AskTimeout as error:
            self.wrong.append(f"a query was late: {error}")
        except AgyActorsError:
            return
        self.queries.append(time.monotonic() - started)

    def _future(self, ref: AgentRef | PoolRef, ask: Ask) -> ReplyFuture[ChatReply]:
        chat = _chat(ask.prompt)
        if isinstance(ref, PoolRef):
            future = ref.ask(chat, block=False, key=self.name)
        else:
            future = ref.ask(chat, block=False)
        ask.resolved = 0
        future.add_done_callback(lambda _: _count_resolution(ask))
        return future

    def _block(self, ref: AgentRef | PoolRef, ask: Ask, timeout: float) -> ChatReply:
        chat = _chat(ask.prompt)
        if isinstance(ref, PoolRef):
            return ref.ask(chat, timeout=timeout, key=self.name)
        return ref.ask(chat, timeout=timeout)

    def _ask(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        ask.reply = self._block(ref, ask, _LONGEST + _LAST)

    def _ask_future(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        ask.reply = self._future(ref, ask).get(timeout=_LONGEST + _LAST)

    def _time_out(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        seconds = self._chance.choice((0.02, 0.2, 1.0, 4.0))
        ask.deadline = time.monotonic() + seconds
        ask.reply = self._block(ref, ask, seconds)

    def _cancel(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        future = self._future(ref, ask)
        self._over.wait(self._chance.expovariate(1 / 0.1))
        future.cancel()
        ask.deadline = time.monotonic()
        ask.reply = future.get(timeout=_LAST)

    def _stream(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        stream = self._open(ref, ask)
        events = stream.events(timeout=_LONGEST + _LAST)
        ask.streamed = "".join(event.text for event in events if isinstance(event, Text))
        ask.reply = stream.result(_LAST)

    def _leave_stream(self, ref: AgentRef | PoolRef, ask: Ask) -> None:
        with self._open(ref, ask) as stream:
            for _ in stream.events(timeout=_LONGEST + _LAST):
                break
        ask.reply = stream.result(_LAST)

    def _open(self, ref: AgentRef | PoolRef, ask: Ask) -> ChatStream:
        chat = _chat(ask.prompt)
        return ref.stream(chat, key=self.name) if isinstance(ref, PoolRef) else ref.stream(chat)


_DO: dict[Style, Callable[[Caller, AgentRef | PoolRef, Ask], None]] = {
    Style.ASK: Caller._ask,
    Style.FUTURE: Caller._ask_future,
    Style.STREAM: Caller._stream,
    Style.TIMES_OUT: Caller._time_out,
    Style.CANCELS: Caller._cancel,
    Style.LEAVES_STREAM: Caller._leave_stream,
}


class Mapper(Worker):
    """Maps prompts over a pool, alternately in order and as they are completed."""

    def __init__(
        self, number: int, home: Home, chance: random.Random, over: threading.Event
    ) -> None:
        super().__init__(f"mapper-{number}-{home.name}", chance, over)
        self._number = number
        self._home = home
        self._batches = 0
        self._asked: dict[str, Ask] = {}

    def _work(self) -> None:
        ref = self._home.ref()
        assert isinstance(ref, PoolRef)
        self._batches += 1
        if self._batches % 2:
            self._map(ref)
        else:
            self._complete(ref)

    def _map(self, ref: PoolRef) -> None:
        prompts: list[Prompt] = []
        replies = ref.map(self._prompts(prompts), in_flight=4, return_exceptions=True)
        for position, reply in enumerate(replies):
            self._end(prompts[position], reply)

    def _complete(self, ref: PoolRef) -> None:
        prompts: list[Prompt] = []
        for future in ref.as_completed(self._prompts(prompts), in_flight=4):
            message = future.message
            assert isinstance(message, Chat)
            prompt = next(prompt for prompt in prompts if prompt.text == message.prompt)
            try:
                self._end(prompt, future.get(timeout=0))
            except Exception as error:  # noqa: BLE001 (it is judged at the end)
                self._end(prompt, error)

    def _prompts(self, prompts: list[Prompt]) -> Iterator[Chat]:
        for _ in range(20):
            self._count += 1
            prompt = Prompt(f"q{self._number}x{self._count}", draw_fault(self._chance))
            prompts.append(prompt)
            now = time.monotonic()
            # Each earlier prompt in the window may take as long, one after another.
            deadline = now + 4 * _LONGEST
            ask = Ask(prompt, Style.FUTURE, self._home.name, now, deadline, resolved=0)
            self._asked[prompt.nonce] = ask
            yield _chat(prompt)
            if self._over.is_set():
                return

    def _end(self, prompt: Prompt, reply: ChatReply | Exception) -> None:
        ask = self._asked.pop(prompt.nonce)
        ask.ended = time.monotonic()
        ask.resolved += 1
        if isinstance(reply, Exception):
            ask.error = reply
        else:
            ask.reply = reply
        self.asks.append(ask)

    def run(self) -> None:
        """Work until the soak ends. An ask that has not ended then is lost."""
        super().run()
        self.asks.extend(self._asked.values())

    def _note_trouble(self, error: AgyActorsError) -> None:
        # The pool ended in between: prompts in progress are cancelled, or were never asked.
        for ask in self._asked.values():
            ask.ended, ask.resolved, ask.error = time.monotonic(), 1, error
            self.asks.append(ask)
        self._asked.clear()
        super()._note_trouble(error)


def _chat(prompt: Prompt) -> Chat:
    return Chat(prompt.text, timeout=CHAT_TIMEOUT, stall_timeout=STALL_TIMEOUT)


def _count_resolution(ask: Ask) -> None:
    ask.resolved += 1
