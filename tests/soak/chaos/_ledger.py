"""Records the result of every ask, and checks whether it is allowed."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    ModelError,
    QuotaExceeded,
    TurnError,
)
from tests.soak.chaos._model import REMEMBERED, echoed, read_answer
from tests.soak.chaos._plan import Fault, Style

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from agy_actors import ChatReply
    from tests.soak.chaos._model import Answer
    from tests.soak.chaos._plan import Prompt

__all__ = ["Ask", "Verdicts", "judge"]

_LATE_BY = 2.0
"""Seconds that a caller's thread may take to see a reply that came in time. Arbitrary: as long as a
busy machine may delay a thread."""

_STATUSES = {
    Fault.UNAUTHORIZED: 401,
    Fault.QUOTA: 429,
    Fault.SERVER: 500,
    Fault.UNAVAILABLE: 503,
    Fault.UNAVAILABLE_ONCE: 503,
}

_MAY_BE_CUT = (Fault.DROP_LATE, Fault.SILENCE_LATE, Fault.MALFORMED, Fault.CUT_SHORT)
"""The SDK takes some streams that end too early for complete ones."""


@dataclasses.dataclass(slots=True)
class Ask:
    """One ask and its result."""

    prompt: Prompt
    style: Style
    target: str
    """The agent or the pool that was asked."""
    asked: float
    deadline: float
    ended: float = 0.0
    reply: ChatReply | None = None
    error: BaseException | None = None
    streamed: str | None = None
    """The text from a stream, if it was read to its end."""
    resolved: int = 1
    """How many times its future was resolved."""

    @property
    def plain(self) -> bool:
        """Whether its own prompt causes no fault."""
        return self.prompt.fault is Fault.NONE and self.style in (Style.ASK, Style.FUTURE)


class Verdicts:
    """The violations of asks, and their outcomes."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.outcomes: dict[Fault, Counter[str]] = defaultdict(Counter)

    def blame(self, ask: Ask, what: str) -> None:
        """Note a violation."""
        self.wrong.append(
            f"{what}: {ask.prompt.text!r} to {ask.target} ({ask.style.value}),"
            f" {ask.ended - ask.asked:.1f} s, reply {ask.reply!r}, error {ask.error!r}"
        )


def judge(asks: Collection[Ask], without_memory: Collection[str] = ()) -> Verdicts:
    """Check every ask, and the conversations that they belong to.

    Args:
        asks: all asks of the soak.
        without_memory: the pools that open a new conversation for each turn.
    """
    verdicts = Verdicts()
    conversations: dict[str, list[Ask]] = defaultdict(list)
    ends = {ask.prompt.nonce: ask.ended for ask in asks}
    for ask in asks:
        kind = _kind(ask)
        verdicts.kinds[kind] += 1
        verdicts.outcomes[ask.prompt.fault][kind] += 1
        for what in _faults_of(ask):
            verdicts.blame(ask, what)
        answer = _whole_answer(ask)
        if ask.target in without_memory and answer is not None and answer.of_others:
            verdicts.blame(ask, f"remembers {sorted(answer.of_others)}")
        if ask.reply is not None:
            conversations[ask.reply.conversation_id].append(ask)
    for answered in conversations.values():
        for ask, forgotten in _forgetful(answered, ends):
            verdicts.blame(ask, f"forgot {forgotten}")
    return verdicts


def _kind(ask: Ask) -> str:
    if ask.error is None:
        return "answer"
    status = getattr(ask.error, "status", None)
    return type(ask.error).__name__ + (f" {status}" if status else "")


def _faults_of(ask: Ask) -> Iterator[str]:
    if ask.resolved == 0:
        yield "lost"
        return
    if ask.resolved > 1:
        yield f"resolved {ask.resolved} times"
    if ask.ended > ask.deadline + _LATE_BY:
        yield f"late by {ask.ended - ask.deadline:.1f} s"
    if ask.error is not None:
        yield from _faults_of_error(ask, ask.error)
    elif ask.reply is not None:
        yield from _faults_of_reply(ask, ask.reply)


def _faults_of_reply(ask: Ask, reply: ChatReply) -> Iterator[str]:
    answer = read_answer(reply.text)
    if ask.prompt.fault in _STATUSES and ask.prompt.fault is not Fault.UNAVAILABLE_ONCE:
        yield "an error came as an answer"
    elif answer is None and ask.prompt.fault not in _MAY_BE_CUT:
        yield "not an answer"
    elif answer is not None and answer.nonce != ask.prompt.nonce:
        yield "crossed"
    if ask.streamed is not None and ask.streamed != reply.text:
        yield f"the stream said {ask.streamed!r}"


def _faults_of_error(ask: Ask, error: BaseException) -> Iterator[str]:
    if isinstance(error, concurrent.futures.CancelledError):
        if ask.style not in (Style.CANCELS, Style.LEAVES_STREAM):
            yield "cancelled without a request"
    elif isinstance(error, AskTimeout):
        if ask.style is not Style.TIMES_OUT:
            yield "lost"
    elif not isinstance(error, TurnError | AgentDeadError):
        yield "not a documented error"
    elif isinstance(error, ModelError) and not isinstance(error, QuotaExceeded):
        # A quota is shared; any other error belongs to the ask that caused it.
        if error.status is not None and error.status != _STATUSES.get(ask.prompt.fault):
            yield "the error of another ask"
    elif isinstance(error, TurnError) and echoed(error.text) not in (None, ask.prompt.nonce):
        yield "the text of another ask"


def _forgetful(answered: list[Ask], ends: Mapping[str, float]) -> Iterator[tuple[Ask, list[str]]]:
    """Find answers that do not know the answers shortly before them in their conversation.

    An answer names the last few prompts. The position of an ask does not show whether it belongs to
    the conversation, because failed prompts may be dropped. It belongs if the answer names a prompt
    that had ended before this ask, or names fewer than it could.
    """
    whole = [(ask, answer) for ask in answered if (answer := _whole_answer(ask)) is not None]
    for ask, answer in whole:
        before = [(other, its) for other, its in whole if other.ended < ask.asked]
        forgotten = [
            f"{other.prompt.text} ({other.style.value}, {ask.asked - other.ended:.2f} s before)"
            for other, its in before
            if its.nonce not in answer.earlier
            and (
                len(answer.earlier) < REMEMBERED
                or any(ends.get(nonce, math.inf) < other.asked for nonce in answer.earlier)
            )
        ]
        if forgotten or answer.count < len(before):
            yield ask, forgotten


def _whole_answer(ask: Ask) -> Answer | None:
    return None if ask.reply is None else read_answer(ask.reply.text)
