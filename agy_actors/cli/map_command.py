"""``agy-actors map``: answers every prompt of a file with several supervised agents.

Each prompt has a new conversation, so that no answer depends on other prompts or on which agent was
free. The agents are a pool, whose members open their next conversation while they answer a prompt;
with ``--durable`` they are sessions (see `map_askers`).

Guarantees:

*   A thread writes a result before it takes the next prompt. A prompt that was being asked when
    the run was interrupted has no record and is asked by the next run.
*   The run's threads end with the run: an interruption sets `_Run._stop`, which ends waits between
    attempts, and then stops the supervisor, which ends asks. The order matters: failures that the
    end of the run causes are not recorded.
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tenacity
from rich.text import Text

from agy_actors import AgyActorsError, TurnTimeout
from agy_actors.cli.answering import Answering
from agy_actors.cli.console import console
from agy_actors.cli.ledger import Ledger
from agy_actors.cli.map_askers import DurableAsker, PoolAsker, state_folder
from agy_actors.cli.model_choice import ModelChoice, ModelOptions, is_rehearsal, open_model
from agy_actors.cli.progress import progress_bar
from agy_actors.cli.prompt_file import PromptFile
from agy_actors.cli.prompts import PromptLine, Reading
from agy_actors.cli.recording import Recording
from agy_actors.cli.records import Failure, Result
from agy_actors.cli.result_file import ResultFile, refuse_to_overwrite_prompts
from agy_actors.cli.run_summary import RunSummary, TooManyFailures
from agy_actors.cli.wait_reporter import WaitReporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from agy_actors.cli.map_askers import Asker

__all__ = ["MapOptions", "map_prompts"]

LONGEST_WAIT = 60.0
"""The maximum number of seconds between two attempts. Most quotas are per minute; if a service asks
for a longer delay, the prompt fails."""

_LOOK = 0.5
"""Seconds after which the main thread looks for signals. Arbitrary: a person who presses Ctrl-C
notices no shorter delay."""

_FIRST_WAIT = 0.5  # Seconds; arbitrary. It doubles with each attempt.

DEFAULT_MAX_FAILURES = 20
"""Consecutive failures that end a run. Arbitrary: a short outage of a service does not end the
run, and a wrong key is noticed soon."""


@dataclass(frozen=True)
class MapOptions:
    """The options of ``map``."""

    prompts: str
    """The file of prompts, or ``-`` for standard input."""

    out: Path | None
    """The file for the results, or `None` for standard output."""

    agents: int = 4
    """The number of prompts that are asked at once."""

    timeout: float | None = None
    """The time limit of a turn in seconds; `None` for the default."""

    retries: int = 3
    """How often a prompt is asked again after a temporary error."""

    max_failures: int = DEFAULT_MAX_FAILURES
    """Consecutive failures that end the run; 0 for no limit."""

    reading: Reading = field(default_factory=Reading)
    """How to read the file of prompts."""

    answering: Answering = field(default_factory=Answering)
    """How the agents answer."""

    durable: bool = False
    """Whether prompts are asked as durable requests."""

    recording: Recording = field(default_factory=Recording)
    """Where traces and metrics go."""


def map_prompts(options: MapOptions, model: ModelOptions) -> bool:
    """Answer the unanswered prompts.

    Returns:
        Whether every prompt is answered now.

    Raises:
        UsageProblem: the prompts, the file of results or the model cannot be used.
        OSError: a result could not be written.
        KeyboardInterrupt: the user pressed Ctrl-C; the written results are complete.
        SystemExit: the same after SIGTERM.
    """
    err = console(stderr=True)
    options.recording.check()
    refuse_to_overwrite_prompts(options.prompts, options.out)
    if options.durable:
        state_folder(options.out)
    with PromptFile(options.prompts, options.reading) as prompts:
        ledger = Ledger(prompts.read, prompts.name, rehearsal=is_rehearsal(model))
        with ResultFile(options.out, ledger) as results:
            complete = _answer(options, model, results, ledger, err)
        if results.problem is not None and results.table is not None:
            raise AgyActorsError(
                f"{options.out} could not be written: {results.problem}; the results are in"
                f" {results.table.journal}; run the command again to write it"
            )
        if results.problem is not None:
            err.print(
                f"{options.out} still contains superseded records of prompts that were asked again;"
                f" they could not be removed: {results.problem}"
            )
    return complete


def _answer(
    options: MapOptions, model: ModelOptions, results: ResultFile, ledger: Ledger, err: Console
) -> bool:
    pending = ledger.pending()
    total = ledger.total
    earlier = total - len(pending)
    if not pending:
        err.print(f"all {total} prompts are already answered; nothing was asked")
        return True
    with (
        WaitReporter(lambda line: err.print(Text(line, "dim"))) as reporter,
        _open_model(model, options.answering, reporter) as choice,
    ):
        err.print(choice.label)
        if earlier:
            err.print(f"{earlier} of {total} prompts are already answered")
        # A bar would mix with results that are printed on the terminal.
        shown = err.is_terminal and not (options.out is None and sys.stdout.isatty())
        bar, advance = progress_bar(
            err, total=total, done=earlier, shown=shown, below=reporter.describe_silence
        )
        summary = RunSummary(
            err,
            total=total,
            earlier=earlier,
            max_failures=options.max_failures,
            advance=advance,
        )
        again = "" if options.out is None else "; run it again to ask the remaining prompts"
        asker = DurableAsker(state_folder(options.out)) if options.durable else PoolAsker()
        run = _Run(choice, pending, options, summary, reporter=reporter, asker=asker)
        reporter.begin("the next answer")
        try:
            with bar, reporter.shown_live(live=shown and err.is_interactive):
                run.run(results)
        except (KeyboardInterrupt, SystemExit):
            summary.show(f"interrupted{again}: ")
            raise
        except TooManyFailures as problem:
            err.print(Text(f"{problem}{again}", "bold red"))
    asker.close(complete=summary.complete)
    summary.show()
    return summary.complete


@contextmanager
def _open_model(
    model: ModelOptions, answering: Answering, reporter: WaitReporter
) -> Iterator[ModelChoice]:
    reporter.begin("the model to be ready")
    with open_model(model, answering.rehearsed) as choice:
        yield choice
        reporter.begin("the model to end")


class _Run:
    """Asks the pending prompts."""

    def __init__(
        self,
        choice: ModelChoice,
        pending: Sequence[PromptLine],
        options: MapOptions,
        summary: RunSummary,
        *,
        reporter: WaitReporter,
        asker: Asker,
    ) -> None:
        self._stop = threading.Event()
        self._choice = choice
        self._size = min(options.agents, len(pending))
        self._waiting = iter(pending)
        self._lock = threading.Lock()
        self._options = options
        self._summary = summary
        self._reporter = reporter
        self._asker = asker

    def run(self, results: ResultFile) -> None:
        """Ask all prompts and write their results."""
        with ExitStack() as stack:
            # Left in reverse order; see the guarantees.
            threads = stack.enter_context(ThreadPoolExecutor(self._size))
            supervisor = stack.enter_context(self._asker.start())
            stack.enter_context(self._options.recording.of(supervisor))
            self._reporter.follow(supervisor)
            stack.callback(self._reporter.begin, "the agents to end")
            stack.callback(self._stop.set)
            config = self._options.answering.configure(self._choice)
            self._asker.open(supervisor, config, self._size)

            def work(number: int) -> None:
                try:
                    self._work(number, results)
                except BaseException:
                    self._stop.set()  # Now, so that later failures are not recorded.
                    raise

            workers = {threads.submit(work, number) for number in range(1, self._size + 1)}
            while workers:
                # Not without a timeout: CPython handles a signal that another thread has received,
                # or that came just before the wait, only when the wait is over.
                done, workers = wait(workers, timeout=_LOOK, return_when=FIRST_COMPLETED)
                for worker in done:
                    worker.result()  # An error of a write ends the run.

    def _next(self) -> PromptLine | None:
        with self._lock:
            return next(self._waiting, None)

    def _work(self, number: int, results: ResultFile) -> None:
        """Ask one prompt after the other. Runs on its own thread."""
        while not self._stop.is_set() and (prompt := self._next()) is not None:
            started = time.monotonic()
            text: str | None = None
            structured: dict[str, Any] | None = None
            usage: dict[str, Any] | None = None
            failure: Failure | None = None
            attempts = 0
            try:
                for attempt in self._attempts(prompt.id):
                    with attempt:
                        attempts += 1
                        reply = self._asker.ask(prompt, attempts, self._options.timeout)
                        text = reply.text
                        structured = reply.structured_output
                        if reply.usage is not None:
                            usage = reply.usage.model_dump(mode="json", exclude_none=True)
            except Exception as error:  # noqa: BLE001 (after any error the other prompts are asked)
                if self._stop.is_set():
                    return
                text = getattr(error, "text", None) or None
                failure = Failure.of(error)
            seconds = time.monotonic() - started
            result = Result(
                prompt,
                text,
                f"agent-{number}",
                seconds,
                attempts,
                usage,
                failure,
                self._choice.name,
                dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
                has_schema=self._options.answering.schema is not None,
                structured=structured,
            )
            results.write(result)
            self._asker.forget(prompt)
            self._reporter.shown()
            self._summary.add(result)

    def _attempts(self, id_: str) -> tenacity.Retrying:
        def show(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            if error is not None and not self._stop.is_set():
                self._reporter.shown()
                self._summary.show_retry(id_, Failure.of(error), state.upcoming_sleep)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_temporary),
            stop=tenacity.stop_after_attempt(self._options.retries + 1)
            | tenacity.stop_when_event_set(self._stop),
            wait=_wait,
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=show,
            reraise=True,
        )


def _is_temporary(error: BaseException) -> bool:
    """Whether to ask again. A prompt that timed out is not asked again."""
    if not isinstance(error, AgyActorsError) or isinstance(error, TurnTimeout):
        return False
    return error.retryable and (getattr(error, "retry_after", None) or 0) <= LONGEST_WAIT


_back_off = tenacity.wait_exponential_jitter(_FIRST_WAIT, LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the delay that the service gave, or one that grows with each attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    after: float | None = getattr(error, "retry_after", None)
    return _back_off(state) if after is None else after
