"""The commands and their options, and how each ends.

Exit codes: 0 all answered, 1 something was not, 2 the command was used in a way that
cannot work (told before any agent starts), 130 ended by Ctrl-C, 141 the reader of the
output went away, 143 ended by SIGTERM: the last three as a shell has them.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
import signal
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer looks at the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer
from loguru import logger

from agy_actors import AgyActorsError, InvalidConfig, carry_over_logging
from agy_actors.cli import _chat, _demo, _map
from agy_actors.cli._models import ModelOptions
from agy_actors.cli._prompts import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app", "main"]

_FAILED, _USAGE = 1, 2
_INTERRUPTED, _BROKEN_PIPE, _TERMINATED = 128 + 2, 128 + 13, 128 + 15  # The signals' numbers.
_MAX_AGENTS = 64
"""Arbitrary: each has a process of some 60 MB, and by then the model is what is waited for."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # A key may be among them.
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LogLevel(StrEnum):
    """The least level of the log lines to show."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A Gemini model (the key comes from GEMINI_API_KEY or a .env file), or with"
        " --base-url a model of that server. Left out, a small model on this machine answers.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible server to use."),
]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Use no model: the answers are scripted.")
]
Level = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        case_sensitive=False,
        help="Show what the library logs, on standard error; debug may hold prompts.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long an answer may take. Left out: AGY_ACTORS_CHAT_TIMEOUT, or 120.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agy-actors {importlib.metadata.version('agy-actors')}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Supervised LLM agents on threads."""


@app.command()
def demo(
    *,
    model: ModelName = None,
    base_url: BaseUrl = None,
    rehearse: Rehearse = False,
    log_level: Level = None,
) -> None:
    """See four agents answer two dozen prompts, and one of them crash and come back.

    Each agent has a conversation of its own, asked by a thread of its own. Halfway one
    agent's process is killed while it answers; it is restarted and goes on.

    Exit code: 0 if every prompt was answered and the agent came back with its
    conversation, else 1; 2 for options that cannot be used.
    """
    with _told(log_level):
        _exit(complete=_demo.demo(ModelOptions(model, base_url, rehearse)))


@app.command("map")
def map_(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A text file with a prompt in each line, or JSONL with"
            ' {"prompt": ..., "id": ...} in each; - for standard input.',
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT.jsonl",
            help="Where to add the results; what it holds answered is not asked again."
            " Left out, they go to standard output.",
        ),
    ] = None,
    agents: Annotated[
        int,
        typer.Option("--agents", "-n", min=1, max=_MAX_AGENTS, help="How many agents at once."),
    ] = 4,
    timeout: Timeout = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            help="How often to ask again after an error that may pass (a quota that is used up,"
            " a service that is overloaded), when the service says so or after a growing wait.",
        ),
    ] = 3,
    model: ModelName = None,
    base_url: BaseUrl = None,
    rehearse: Rehearse = False,
    log_level: Level = None,
) -> None:
    """Answer every prompt of a file, over several supervised agents.

    Each prompt is asked by an agent without a past, so that no answer depends on the
    other prompts; starting one takes about 0.2 s. The results are JSON lines, written as
    they come. A prompt that fails leaves its error in its result, and the rest go on.
    Interrupted or killed, the same command with the same -o asks only what has no answer.

    Exit code: 0 if all are answered, 1 if some failed, 2 for what cannot be used, 130
    for Ctrl-C.
    """
    with _told(log_level):
        options = _map.MapOptions(prompts, out, agents, _seconds(timeout), retries)
        _exit(complete=_map.map_prompts(options, ModelOptions(model, base_url, rehearse)))


@app.command()
def chat(
    *,
    name: Annotated[
        str | None,
        typer.Option(help="The conversation to begin or resume, in --state-dir."),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder where conversations are kept."),
    ] = None,
    timeout: Timeout = None,
    model: ModelName = None,
    base_url: BaseUrl = None,
    rehearse: Rehearse = False,
    log_level: Level = None,
) -> None:
    """Talk with an agent; its answers are streamed as they come.

    Ctrl-C stops the answer, and with nothing typed at the prompt it ends the program, as
    do Ctrl-D and /quit. Where standard input is no terminal, each of its lines is
    answered.

    Exit code: 0, 1 if a prompt was not answered, 2 for options that cannot be used.
    """
    with _told(log_level):
        options = _chat.ChatOptions(name, state_dir, _seconds(timeout))
        _exit(complete=_chat.chat(options, ModelOptions(model, base_url, rehearse)))


def main() -> None:
    """Run the command line, and exit."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    app()


def _on_sigterm(_signal: int, _frame: Any) -> None:
    sys.exit(_TERMINATED)  # So that what is open is closed on the way out.


def _exit(*, complete: bool) -> None:
    if not complete:
        raise typer.Exit(_FAILED)


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise UsageProblem(f"--timeout must be a number of seconds above 0, got {timeout:g}")
    return timeout


@contextmanager
def _told(level: LogLevel | None) -> Iterator[None]:
    """Tell what goes wrong in one message, and end with the exit code that says it."""
    if level is not None:
        _show_logs(level)
    try:
        yield
    except (UsageProblem, InvalidConfig) as problem:
        _complain(problem)
        raise typer.Exit(_USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        # Nobody reads on; nor must the interpreter, at its end, try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None
    except (AgyActorsError, OSError) as error:
        _complain(error)
        raise typer.Exit(_FAILED) from None


def _complain(error: Exception) -> None:
    typer.echo(f"agy-actors: {error}", err=True)


def _show_logs(level: LogLevel) -> None:
    logger.remove()
    # By name at each line: a live display puts its own stream there. And without the
    # values of variables, of which one may be a key.
    logger.add(
        _write_log,
        level=level.value.upper(),
        backtrace=False,
        diagnose=False,
        colorize=sys.stderr.isatty(),
    )
    logger.enable("agy_actors")
    carry_over_logging()
    # The SDK's way of logging gives the root logger a handler, which would show it again.
    logging.getLogger("pykka").propagate = False


def _write_log(line: str) -> None:
    sys.stderr.write(line)
