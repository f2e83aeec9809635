"""``agy-actors top``: shows what the agents of a program do.

The application and the client are in ``agy_actors.telemetry.top``. They are imported when the
command runs, because they take a third of a second.
"""

from __future__ import annotations

import getpass
import os

from agy_actors.cli.usage_problem import UsageProblem

__all__ = ["TOKEN_VARIABLE", "top"]

TOKEN_VARIABLE = "AGY_ACTORS_TOP_TOKEN"  # noqa: S105 (a name)


def top(url: str | None, *, demo: bool) -> None:
    """Show a program, or the demonstration, until the user leaves.

    Args:
        url: the address of a program that called `serve_top`.
        demo: whether to show a demonstration instead.

    Raises:
        UsageProblem: the options, the terminal or the program cannot be used.
        AgyActorsError: the agents of the demonstration did not start.
    """
    from agy_actors.telemetry.top.errors import TopUnusable  # noqa: PLC0415 (see the module)
    from agy_actors.telemetry.top.run import check_terminal  # noqa: PLC0415

    if (url is None) != demo:
        raise UsageProblem(
            "give the address of a program that calls agy_actors.telemetry.serve_top, or --demo;"
            " not both"
        )
    try:
        check_terminal()
    except TopUnusable as problem:
        raise UsageProblem(str(problem)) from problem
    if url is None:
        _show_demo()
    else:
        _show_program(url)


def _show_demo() -> None:
    from agy_actors.cli.top_demo import running_demo  # noqa: PLC0415
    from agy_actors.telemetry.top.local_source import LocalSource  # noqa: PLC0415
    from agy_actors.telemetry.top.run import run_app  # noqa: PLC0415

    with running_demo() as supervisor:
        source = LocalSource(supervisor)
        try:
            run_app(source, "demo")
        finally:
            source.close()


def _show_program(url: str) -> None:
    from agy_actors.telemetry.top.errors import InvalidAddress, TopUnavailable  # noqa: PLC0415
    from agy_actors.telemetry.top.remote_source import RemoteSource  # noqa: PLC0415
    from agy_actors.telemetry.top.run import run_app  # noqa: PLC0415

    try:
        source = RemoteSource(url, _read_token())
        source.read(0)
    except (InvalidAddress, TopUnavailable) as problem:
        raise UsageProblem(str(problem)) from problem
    run_app(source, source.name)


def _read_token() -> str:
    token = os.environ.get(TOKEN_VARIABLE)
    if token is not None:
        return token
    try:
        return getpass.getpass("Token of the program: ")
    except EOFError:
        raise UsageProblem(f"no token was given; type it, or set {TOKEN_VARIABLE}") from None
