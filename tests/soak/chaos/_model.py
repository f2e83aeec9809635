"""The model: answers with the fault that the prompt names, and with its nonce."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agy_actors.testing import (
    Reply,
    ScriptedModel,
    call_tool,
    drop,
    http_error,
    malformed,
    quota_error,
    say,
    silence,
)
from tests.soak.chaos._plan import Fault, read_prompt
from tests.soak.chaos._tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors.testing import ModelRequest

__all__ = ["REMEMBERED", "Answer", "answered_before", "chaotic_model", "echoed", "read_answer"]

REMEMBERED = 10
"""How many earlier answers an answer names."""

_RETRY_AFTER = 0.3  # Seconds until the quota is free again.

_ECHO = re.compile(r"echo (q\d+x\d+)")
_ANSWER = re.compile(r"echo (?P<nonce>q\d+x\d+) after (?P<count>\d+):(?P<earlier>( q\d+x\d+)*)\.")

_REPLIES: dict[Fault, Reply] = {
    Fault.UNAUTHORIZED: http_error(401),
    Fault.QUOTA: quota_error(_RETRY_AFTER),
    Fault.SERVER: http_error(500),
    Fault.UNAVAILABLE: http_error(503),
    Fault.UNAVAILABLE_ONCE: http_error(503),
    Fault.DROP: drop(),
    Fault.DROP_LATE: drop("half an answer, and"),
    Fault.SILENCE: silence(),
    Fault.SILENCE_LATE: silence("half an answer, and"),
    Fault.MALFORMED: malformed("half an answer, and"),
    Fault.CUT_SHORT: malformed("half an answer, and", data=b""),
}


class Answer:
    """The data in an answer about itself and the answers before it."""

    def __init__(self, nonce: str, count: int, earlier: frozenset[str]) -> None:
        self.nonce = nonce
        self.count = count
        """How many answers the model saw in the conversation before this one."""
        self.earlier = earlier
        """The last of these answers."""

    @property
    def of_others(self) -> frozenset[str]:
        """The earlier answers to other prompts: this prompt may have been asked twice."""
        return self.earlier - {self.nonce}


def read_answer(text: str) -> Answer | None:
    """Read a whole answer, or return `None` for anything else."""
    found = _ANSWER.fullmatch(text)
    if found is None:
        return None
    return Answer(found["nonce"], int(found["count"]), frozenset(found["earlier"].split()))


def echoed(text: str) -> str | None:
    """Return the nonce of an answer that may be incomplete."""
    found = _ECHO.match(text)
    return None if found is None else found[1]


def chaotic_model() -> ScriptedModel:
    """Make the model."""
    model = ScriptedModel(say(_answer), keep=1)
    model.when(_meets(Fault.SLOW), say(_answer, delay=0.03))
    seen: set[str] = set()
    model.when(_meets_first(Fault.UNAVAILABLE_ONCE, seen), _REPLIES[Fault.UNAVAILABLE_ONCE])
    for fault, reply in _REPLIES.items():
        if fault is not Fault.UNAVAILABLE_ONCE:
            model.when(_meets(fault), reply)
    for fault, tool in TOOLS.items():
        model.when(_wants_tool(fault), call_tool(tool.__name__))
    return model


def _answer(request: ModelRequest) -> str:
    prompt = read_prompt(request.prompt)
    if prompt is None:
        return f"echo: {request.prompt}"
    earlier = answered_before(request)
    last = "".join(f" {nonce}" for nonce in earlier[-REMEMBERED:])
    return f"echo {prompt.nonce} after {len(earlier)}:{last}."


def answered_before(request: ModelRequest) -> list[str]:
    """Return the nonces of the answers that a conversation has, oldest first."""
    said = (text for role, text in request.messages if role == "assistant")
    return list(dict.fromkeys(nonce for text in said for nonce in _ECHO.findall(text[:40])))


def _meets(fault: Fault) -> Callable[[ModelRequest], bool]:
    def applies(request: ModelRequest) -> bool:
        prompt = read_prompt(request.prompt)
        return prompt is not None and prompt.fault is fault

    return applies


def _meets_first(fault: Fault, seen: set[str]) -> Callable[[ModelRequest], bool]:
    meets = _meets(fault)

    def applies(request: ModelRequest) -> bool:
        if not meets(request) or request.prompt in seen:
            return False
        seen.add(request.prompt)
        return True

    return applies


def _wants_tool(fault: Fault) -> Callable[[ModelRequest], bool]:
    meets = _meets(fault)

    def applies(request: ModelRequest) -> bool:
        # After the tool's result, the model answers.
        return meets(request) and request.messages[-1][0] != "tool"

    return applies
