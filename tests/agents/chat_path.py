"""Lists the files of agy_actors that a `Chat` passes through, from `ref.ask` to its reply.

A `Chat` passes through a file if a function there takes or returns the `Chat`, what stands for it
(its prompt, its envelope, and what is kept of its turn) or its reply. The agent is under a
supervisor and uses the real SDK; it is up and idle when it is asked. All threads count. The model's
server counts as the outside world, although it runs in the same process.

Run it as `python -m tests.agents.chat_path`, with `-v` for the functions too, or with `--all` for
all files with functions that are called meanwhile, such as clocks, counters and limits.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agy_actors
from agy_actors import Chat, ChatReply, Supervisor
from agy_actors._actors.envelope import Envelope
from agy_actors._agents.record import PendingTurn
from agy_actors._agents.running_turn import RunningTurn
from agy_actors.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

PACKAGE = Path(agy_actors.__file__).parent
MODEL = PACKAGE / "testing" / "scripted_model"
PROMPT = "a prompt that is no other object's text"

__all__ = ["files_of_a_chat"]


class _Recorder:
    """Notes the functions that are called while it is active, on all profiled threads.

    Args:
        counts: returns whether a function counts that takes or returns a value.
    """

    def __init__(self, counts: Callable[[object], bool]) -> None:
        self._counts = counts
        self.on = False
        self.called: dict[str, dict[str, None]] = {}

    def profile(self, frame: FrameType, event: str, value: Any) -> None:
        if not self.on or event not in ("call", "return"):
            return
        code = frame.f_code
        values = [value]
        if event == "call":
            values = [frame.f_locals.get(name) for name in _parameters(code)]
        if any(self._counts(value) for value in values):
            self.called.setdefault(code.co_filename, {})[code.co_qualname] = None

    def start(self) -> None:
        """Profile this thread, and all later threads."""
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)

    def stop(self) -> None:
        threading.setprofile(None)
        sys.setprofile(None)


def _parameters(code: CodeType) -> tuple[str, ...]:
    stars = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # *args and **options
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + stars]


def _carries(value: object) -> bool:
    """Return whether a value is the `Chat`, stands for it, or is its reply."""
    kinds = (Chat, ChatReply, Envelope, PendingTurn, RunningTurn)
    return isinstance(value, kinds) or value is PROMPT


def files_of_a_chat(counts: Callable[[object], bool] = _carries) -> dict[str, list[str]]:
    """Return the files that a `Chat` passes through, each with its functions.

    Args:
        counts: returns whether a function counts that takes or returns a value.
    """
    recorder = _Recorder(counts)
    recorder.start()
    try:
        with ScriptedModel() as model, Supervisor.start() as supervisor:
            agent = supervisor.create_agent(model.openai_config())
            agent.ask(Chat("first"), timeout=30.0)
            chat = Chat(PROMPT)
            recorder.on = True
            reply = agent.ask(chat)
            recorder.on = False
            assert reply.text == f"echo: {PROMPT}"
    finally:
        recorder.stop()
    return {
        path.relative_to(PACKAGE).as_posix(): list(functions)
        for name, functions in sorted(recorder.called.items())
        if (path := Path(name)).is_relative_to(PACKAGE) and not path.is_relative_to(MODEL)
    }


if __name__ == "__main__":
    files = files_of_a_chat((lambda _: True) if "--all" in sys.argv else _carries)
    for file, functions in files.items():
        print(file)  # noqa: T201 (its output)
        if "-v" in sys.argv:
            print(*(f"    {function}" for function in functions), sep="\n")  # noqa: T201 (see above)
    print(f"{len(files)} files")  # noqa: T201 (see above)
