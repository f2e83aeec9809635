"""The commands, their options and their exit codes.

Exit codes: 0 if every prompt was answered, 1 if one was not, 2 if an option or a file cannot
be used (found before any agent starts), 130 after Ctrl-C, 141 if the reader of the output
closed it, 143 after SIGTERM. The last three are 128 plus the signal's number, as in a shell.
"""

from __future__ import annotations

import importlib.metadata
import math
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 (typer evaluates the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from agy_actors import (
    AgyActorsError,
    InvalidConfig,
    raise_open_file_limit,
)
from agy_actors.cli import chat_command, demo_command, map_command, shared_options, top_command
from agy_actors.cli.answer_schema import read_schema
from agy_actors.cli.answering import Answering
from agy_actors.cli.console import console
from agy_actors.cli.log_output import LogLevel, show_logs
from agy_actors.cli.model_choice import ModelOptions
from agy_actors.cli.option_text import read_option_text
from agy_actors.cli.prompt_template import PromptTemplate
from agy_actors.cli.prompts import Format, Reading
from agy_actors.cli.recording import Recording
from agy_actors.cli.standard_streams import need_input, need_output, prepare_streams, silence_output
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app", "main"]

_FAILED, _USAGE = 1, 2
_INTERRUPTED, _BROKEN_PIPE, _TERMINATED = 128 + 2, 128 + 13, 128 + 15
"""128 plus the numbers of SIGINT, SIGPIPE and SIGTERM."""

_MAX_AGENTS = 64
"""Arbitrary. Each agent has a process of about 60 MB, and more agents mostly wait for the model."""

_WIDE = 100
"""Columns from which help texts have boxes. In fewer, the boxes cut words. Arbitrary."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # A local variable may hold an API key.
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    raise_open_file_limit()


@app.command()
def demo(
    *,
    model: shared_options.ModelName = None,
    base_url: shared_options.BaseUrl = None,
    rehearse: shared_options.Rehearse = False,
    otlp: shared_options.Otlp = None,
    metrics_port: shared_options.MetricsPort = None,
    log_level: shared_options.Level = None,
) -> None:
    """Show four agents answer 24 prompts while one of them crashes and is restarted.

    Each agent has its own conversation and is asked from its own thread. Halfway through,
    the process of one agent is killed during a turn; the agent is restarted and continues.

    Exit code: 0 if every prompt was answered and the restarted agent kept its
    conversation, 1 if not, 2 for invalid options.
    """
    with _reporting_errors(log_level):
        need_output()
        recording = Recording(otlp, metrics_port)
        _exit(complete=demo_command.demo(ModelOptions(model, base_url, rehearse), recording))


@app.command("map")
def map_(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A text file with one prompt per line; CSV, TSV or Parquet with a column prompt"
            ' and, optionally, id; JSONL with {"prompt": ..., "id": ...} on each line; a JSON list'
            " of such objects; - for standard input.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The file to add results to; prompts answered in it are not asked again. CSV or"
            " Parquet if it is called .csv or .parquet, otherwise JSONL. Default: standard output.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column or field that holds the prompts, if it is not called prompt; for a"
            " CSV or Parquet file, its name or number.",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Make the prompts from columns or fields, as in 'Translate into {language}:"
            " {text}'; {{ for a brace. @FILE reads the text from a file.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The system instructions of the agents. @FILE reads them from a file.",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A JSON Schema for the answers; each result has the data in its field structured.",
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            case_sensitive=False,
            help="The format of the prompts. Default: guessed from the name of the file.",
        ),
    ] = None,
    header: Annotated[
        bool,
        typer.Option(help="Whether the first row of a CSV file names its columns."),
    ] = True,
    agents: Annotated[
        int,
        typer.Option("--agents", "-n", min=1, max=_MAX_AGENTS, help="The number of agents."),
    ] = 4,
    timeout: shared_options.Timeout = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            help="How often to retry a prompt after a temporary error (an exhausted quota, an"
            " overloaded service), after the delay that the service gives or a growing one.",
        ),
    ] = 3,
    max_failures: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after this many prompts in a row have failed; 0: never stop.",
        ),
    ] = map_command.DEFAULT_MAX_FAILURES,
    durable: Annotated[
        bool,
        typer.Option(
            "--durable",
            help="Save each prompt and each answer in a folder beside the results, named after"
            " OUT, before going on: nothing that was answered is asked again, even if the"
            " machine fails. The folder is removed when every prompt is answered.",
        ),
    ] = False,
    model: shared_options.ModelName = None,
    base_url: shared_options.BaseUrl = None,
    rehearse: shared_options.Rehearse = False,
    otlp: shared_options.Otlp = None,
    metrics_port: shared_options.MetricsPort = None,
    log_level: shared_options.Level = None,
) -> None:
    """Answer every prompt of a file with several supervised agents.

    Each prompt has a conversation of its own, so that no answer depends on other prompts. The
    results are JSON lines, CSV or Parquet, saved as soon as they are known. If a prompt
    fails, its result contains the error and the other prompts are still asked, unless
    --max-failures prompts in a row have failed.
    After an interruption, the same command with the same -o asks only the unanswered prompts.

    Exit code: 0 if every prompt was answered, 1 if one failed, 2 for options or files that
    cannot be used, 130 after Ctrl-C.
    """
    with _reporting_errors(log_level):
        if prompts == "-":
            need_input()
        if out is None or str(out) == "-":
            need_output("open it, or give a file with -o")
        options = map_command.MapOptions(
            prompts,
            out,
            agents,
            _seconds(timeout),
            retries,
            max_failures,
            _reading(format_, column, template, header=header),
            Answering(
                read_option_text("--system", system),
                None if schema is None else read_schema(schema),
            ),
            durable,
            Recording(otlp, metrics_port),
        )
        _exit(complete=map_command.map_prompts(options, ModelOptions(model, base_url, rehearse)))


@app.command()
def chat(
    *,
    name: Annotated[
        str | None,
        typer.Option(help="The conversation in --state-dir to start or resume."),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder that conversations are saved in."),
    ] = None,
    timeout: shared_options.Timeout = None,
    model: shared_options.ModelName = None,
    base_url: shared_options.BaseUrl = None,
    rehearse: shared_options.Rehearse = False,
    otlp: shared_options.Otlp = None,
    metrics_port: shared_options.MetricsPort = None,
    log_level: shared_options.Level = None,
) -> None:
    """Talk with an agent; answers are streamed.

    Ctrl-C cancels an answer. At an empty prompt Ctrl-C, Ctrl-D or /quit ends the program;
    /help lists the commands. If standard input is not a terminal, each of its lines is a
    prompt.

    Exit code: 0 if every prompt was answered or cancelled, 1 if not, 2 for invalid options.
    """
    with _reporting_errors(log_level):
        need_input()
        need_output()
        recording = Recording(otlp, metrics_port)
        options = chat_command.ChatOptions(name, state_dir, _seconds(timeout), recording)
        _exit(complete=chat_command.chat(options, ModelOptions(model, base_url, rehearse)))


@app.command()
def top(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="The url of the serve_top of a running program, such as http://127.0.0.1:8123."
            " Its token is read from AGY_ACTORS_TOP_TOKEN, or asked for.",
            show_default=False,
        ),
    ] = None,
    *,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Show scripted agents whose processes are killed."),
    ] = False,
) -> None:
    """Watch the agents of a running program: the tree, turns, queues, restarts and events.

    Keys cancel a turn, restart an agent and shut down; ? lists them. The program calls
    agy_actors.telemetry.serve_top, which prints nothing: print its url and its token there.

    Exit code: 0 after q, 2 if the program cannot be watched.
    """
    with _reporting_errors(None):
        top_command.top(url, demo=demo)


def main() -> None:
    """Run the command line and exit."""
    prepare_streams()
    if shutil.get_terminal_size().columns < _WIDE:
        app.rich_markup_mode = None
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    app()


def _on_sigterm(_signal: int, _frame: Any) -> None:
    sys.exit(_TERMINATED)  # An exception, so that every `with` block is left.


def _exit(*, complete: bool) -> None:
    if not complete:
        raise typer.Exit(_FAILED)


def _reading(
    format_: Format | None, column: str | None, template: str | None, *, header: bool
) -> Reading:
    text = read_option_text("--template", template)
    if text is not None and column is not None:
        raise UsageProblem(
            "--template makes the prompts from columns, and --column names the column with the"
            " prompts: leave one of them out"
        )
    parsed = None if text is None else PromptTemplate.parse(text)
    return Reading(format_, column, header, parsed)


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise UsageProblem(f"--timeout must be a number of seconds above 0, got {timeout:g}")
    return timeout


@contextmanager
def _reporting_errors(level: LogLevel | None) -> Iterator[None]:
    """Print an error as one message and exit with the code for it."""
    if level is not None:
        show_logs(level)
    try:
        yield
    except (UsageProblem, InvalidConfig) as problem:
        _print_error(problem)
        raise typer.Exit(_USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        silence_output()  # The interpreter would flush it at exit and fail again.
        raise typer.Exit(_BROKEN_PIPE) from None
    except (AgyActorsError, OSError) as error:
        if isinstance(error, OSError):
            silence_output()  # The error may be that standard output is full.
        _print_error(error)
        raise typer.Exit(_FAILED) from None


def _print_error(error: Exception) -> None:
    # Not with typer: it replaces a stream whose encoding is ASCII.
    console(stderr=True).print(Text(f"agy-actors: {error}"))
