"""Serve a scripted model from the command line: ``python -m agy_actors.testing.model``."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from agy_actors.testing import ScriptedModel, say

__all__ = ["main"]


def main(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for a free one.")] = 0,
    reply: Annotated[
        str | None, typer.Option(help="The text of each reply. Default: the prompt is repeated.")
    ] = None,
) -> None:
    """Serve a scripted model on this machine until Ctrl-C or SIGTERM."""
    # Both signals raise KeyboardInterrupt here. SIGINT needs the handler too: a shell may start a
    # background process with SIGINT ignored.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    try:
        with ScriptedModel(None if reply is None else say(reply), port=port) as model:
            typer.echo(
                f"{model.base_url} answers now; use it with"
                f' LocalOpenAIAgentConfig(base_url="{model.base_url}", model="scripted")'
            )
            threading.Event().wait()
    except KeyboardInterrupt:
        return
    except OSError as error:
        typer.echo(f"port {port} cannot be used ({error}); choose another, or 0", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
