"""Interrupts code before each of its instructions, as a signal or a finalizer may."""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, ModuleType

__all__ = ["interruptions"]


def interruptions(
    *modules: ModuleType,
) -> Iterator[Callable[[Callable[[], Any], Callable[[], Any]], Any]]:
    """Yield functions that run code, and interrupt it one instruction later each time.

    Each is called once, as `run(what, interrupt)`: it calls `what()`, and before one of the
    instructions of the modules that run in it, `interrupt()`. It ends after the last instruction.
    """
    files = {module.__file__ for module in modules}
    for number in count(1):
        interrupted = False

        def run(what: Callable[[], Any], interrupt: Callable[[], Any], number: int = number) -> Any:
            left = number

            def trace(frame: FrameType, event: str, _: object) -> Any:
                nonlocal left, interrupted
                if frame.f_code.co_filename not in files:
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode":
                    left -= 1
                    if not left:
                        interrupted = True
                        interrupt()
                return trace

            before = sys.gettrace()
            sys.settrace(trace)
            try:
                return what()
            finally:
                sys.settrace(before)

        yield run
        if not interrupted:
            return
