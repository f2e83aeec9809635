"""``agy-actors map``: answers every prompt of a file over several supervised agents.

Each prompt, and each try of it, gets a fresh agent: so no answer depends on what else is
asked, nor on which agent was free. That costs about 0.2 s a prompt, mostly in other
processes, and several are on their way at once.

What is guaranteed:

*   A result is written before the next prompt is taken by the same thread. What was
    being asked when the run was interrupted leaves no record and is asked next time.
*   The run's threads end with it: an interruption sets `_Run.stop`, which ends waits
    between tries, and stops the supervisor, which ends asks. In this order, so that no
    failure caused by the end itself is recorded.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tenacity
from rich.text import Text

from agy_actors import AgentDeadError, AgyActorsError, Chat, Delete, Supervisor, TurnTimeout
from agy_actors.cli._models import ModelOptions, open_model
from agy_actors.cli._prompts import PromptLine, read_prompts
from agy_actors.cli._results import Failure, Result, ResultFile
from agy_actors.cli._show import console, one_line, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google.antigravity import AgentConfig
    from rich.console import Console

    from agy_actors import ChatReply, SupervisorRef

__all__ = ["MapOptions", "map_prompts"]

LONGEST_WAIT = 60.0
"""Seconds between two tries at most. Quotas are mostly by the minute; a service that says
to come back later than that is not waited for."""

_FIRST_WAIT = 0.5  # As agy-bridge's quota registry; it doubles with each try.
_NAMED_FAILURES = 5  # How many the summary names; all are in the results.


@dataclass(frozen=True)
class MapOptions:
    """What to do."""

    prompts: str
    """The file of prompts, or ``-``."""

    out: Path | None
    """The file for the results, or `None` for standard output."""

    agents: int = 4
    """How many prompts are asked at once."""

    timeout: float | None = None
    """Seconds that a turn may take."""

    retries: int = 3
    """How often a prompt is asked again after an error that may pass."""


def map_prompts(options: MapOptions, model: ModelOptions) -> bool:
    """Answer the prompts that have no answer yet.

    Returns:
        Whether every prompt has an answer now.

    Raises:
        UsageProblem: the prompts, the file of results or the model cannot be used.
        OSError: a result could not be written.
        KeyboardInterrupt: so the user ended it; what is written is whole.
        SystemExit: so did SIGTERM.
    """
    err = console(stderr=True)
    prompts = read_prompts(options.prompts)
    with ResultFile(options.out) as results:
        pending = results.pending(prompts)
        earlier = len(prompts) - len(pending)
        if not pending:
            err.print(f"all {len(prompts)} prompts are answered already; nothing was asked")
            return True
        with open_model(model) as choice:
            err.print(choice.label)
            if earlier:
                err.print(f"{earlier} of {len(prompts)} prompts are answered already")
            tally = _Tally(err, total=len(prompts), earlier=earlier)
            # Where the results themselves are on the terminal, a bar would be in their way.
            shown = err.is_terminal and not (options.out is None and sys.stdout.isatty())
            bar, task = progress_bar(err, total=len(prompts), done=earlier, shown=shown)

            def note(result: Result) -> None:
                tally.note(result)
                bar.advance(task)

            try:
                with bar:
                    _run(options, choice.config, results, pending, note)
            except (KeyboardInterrupt, SystemExit):
                again = "" if options.out is None else "; the same command asks the rest"
                tally.summarise(f"interrupted{again}: ")
                raise
    tally.summarise()
    return tally.complete


def _run(
    options: MapOptions,
    config: AgentConfig,
    results: ResultFile,
    pending: list[PromptLine],
    note: Callable[[Result], None],
) -> None:
    size = min(options.agents, len(pending))
    with ExitStack() as stack:
        # Left in the opposite order; see the guarantees.
        threads = stack.enter_context(ThreadPoolExecutor(size))
        supervisor = stack.enter_context(Supervisor.start(name="map"))
        run = _Run(supervisor, config, options)
        stack.callback(run.stop.set)
        for prompt in pending:
            run.waiting.put(prompt)

        def write(result: Result) -> None:
            results.write(result)
            note(result)

        workers = [threads.submit(run.work, number, write) for number in range(1, size + 1)]
        for worker in as_completed(workers):
            worker.result()  # Raises what a write raised, which ends the run.


class _Run:
    """The prompts that wait, and how they are asked."""

    def __init__(self, supervisor: SupervisorRef, config: AgentConfig, options: MapOptions) -> None:
        self.waiting: queue.SimpleQueue[PromptLine] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._supervisor = supervisor
        self._config = config
        self._timeout = options.timeout
        self._retries = options.retries

    def work(self, number: int, write: Callable[[Result], None]) -> None:
        """Ask prompt after prompt. On a thread of its own."""
        made = 0
        while not self.stop.is_set():
            try:
                prompt = self.waiting.get_nowait()
            except queue.Empty:
                return
            started = time.monotonic()
            text: str | None = None
            usage: dict[str, Any] | None = None
            failure: Failure | None = None
            tries = 0
            try:
                for attempt in self._tries():
                    with attempt:
                        tries += 1
                        made += 1
                        reply = self._ask(f"agent-{number}.{made}", prompt)
                        text = reply.text
                        if reply.usage is not None:
                            usage = reply.usage.model_dump(mode="json", exclude_none=True)
            except Exception as error:  # noqa: BLE001 (whatever it is, the other prompts go on)
                if self.stop.is_set():
                    return
                text = getattr(error, "text", None) or None
                failure = Failure.of(error)
            seconds = time.monotonic() - started
            write(Result(prompt, text, f"agent-{number}", seconds, tries, usage, failure))

    def _ask(self, name: str, prompt: PromptLine) -> ChatReply:
        """Ask a fresh agent, of which nothing is left afterwards."""
        ref = self._supervisor.create_agent(self._config, name)
        try:
            reply = ref.ask(Chat(prompt.prompt, timeout=self._timeout))
        except BaseException:
            # It may be about to be restarted, for which this does not wait.
            with suppress(AgyActorsError):
                self._supervisor.shutdown_agent(ref)
            raise
        with suppress(AgentDeadError):  # All is being stopped.
            ref.ask(Delete())
        return reply

    def _tries(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(self._retries + 1)
            | tenacity.stop_when_event_set(self.stop),
            wait=_wait,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )


def _may_pass(error: BaseException) -> bool:
    """Whether to ask again soon. A prompt whose time was up has had it."""
    if not isinstance(error, AgyActorsError) or isinstance(error, TurnTimeout):
        return False
    return error.retryable and (getattr(error, "retry_after", None) or 0) <= LONGEST_WAIT


_back_off = tenacity.wait_exponential_jitter(_FIRST_WAIT, LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait as long as the service said, or else longer with each try."""
    error = state.outcome.exception() if state.outcome is not None else None
    after: float | None = getattr(error, "retry_after", None)
    return _back_off(state) if after is None else after


class _Tally:
    """What came of the run so far. For any thread."""

    def __init__(self, err: Console, *, total: int, earlier: int) -> None:
        self._err = err
        self._total = total
        self._earlier = earlier
        self._answered = 0
        self._failures: list[tuple[str, Failure]] = []
        self._started = time.monotonic()
        self._lock = threading.Lock()

    @property
    def complete(self) -> bool:
        """Whether every prompt has an answer."""
        return self._earlier + self._answered == self._total

    def note(self, result: Result) -> None:
        with self._lock:
            if result.error is None:
                self._answered += 1
            else:
                self._failures.append((result.prompt.id, result.error))

    def summarise(self, before: str = "") -> None:
        seconds = time.monotonic() - self._started
        for id_, failure in self._failures[:_NAMED_FAILURES]:
            self._err.print(Text(f"{id_}: {failure.type}: {one_line(failure.message)}", "red"))
        if len(self._failures) > _NAMED_FAILURES:
            self._err.print(f"and {len(self._failures) - _NAMED_FAILURES} more; see the results")
        parts = [f"{self._earlier + self._answered} of {self._total} prompts answered"]
        if self._earlier:
            parts.append(f"{self._earlier} of them before")
        parts.append(f"{len(self._failures)} failed")
        rate = self._answered / seconds if seconds else 0.0
        parts.append(f"{seconds:.1f} s ({rate:.1f} answers/s)")
        self._err.print(
            Text(before + ", ".join(parts), "bold green" if self.complete else "bold yellow")
        )
