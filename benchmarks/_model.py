"""The model of all benchmarks: a scripted one in its own process.

Its work runs in parallel with that of the measured peer, and affects all peers equally.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agy_actors.testing import ModelRequest, ScriptedModel, call_tool, say, silence
from agy_actors.testing.scripted_model.configs import openai_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.antigravity import AgentConfig

__all__ = ["BLOCK", "HANG_ONCE", "LONG", "SILENT", "Model", "serve"]

LONG = "long"
"""A prompt whose answer is long and comes in small pieces."""

HANG_ONCE = "hang once"
"""The start of a prompt that gets no answer when it is first asked."""

BLOCK = "block"
"""A prompt whose answer is a call of the tool with this name."""

SILENT = "silent for "
"""The start of a prompt that is answered after the number of seconds that follows."""

_PATIENCE = 10.0  # For its end; arbitrary.


class Model:
    """The address of a model; cheap to make in every process."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def config(self, **overrides: Any) -> AgentConfig:
        """Return a configuration for a light agent that uses it."""
        return openai_config(self.base_url, overrides)


@contextlib.contextmanager
def serve() -> Iterator[Model]:
    """Run the model until the end of the `with` block."""
    command = [sys.executable, "-m", "benchmarks._model"]
    with subprocess.Popen(  # noqa: S603 (this program)
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the model did not start")
            yield Model(url)
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


class _FirstTime:
    """Matches each prompt that hangs once, the first time."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, request: ModelRequest) -> bool:
        if not request.prompt.startswith(HANG_ONCE) or request.prompt in self._seen:
            return False
        self._seen.add(request.prompt)
        return True


def _asks_for_block(request: ModelRequest) -> bool:
    return request.prompt == BLOCK and not request.tool_results


def _main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), ScriptedModel(keep=1) as model:
        model.when(f"^{LONG}$", say("word " * 3000, delay=0.01))
        for seconds in (1, 5):
            model.when(f"^{SILENT}{seconds}", say("hello", first_delay=float(seconds)))
        model.when(_FirstTime(), silence("one "))
        model.when(_asks_for_block, call_tool(BLOCK))
        print(model.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    _main()
