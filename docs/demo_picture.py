"""Run ``agy-actors demo`` and write what it prints as an SVG.

    python docs/demo_picture.py docs/images/demo.svg

It takes the options of the command: ``--rehearse``, ``--model NAME`` and ``--base-url URL``.
Without them the small model on this machine answers.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path  # noqa: TC003 (typer evaluates the annotations)
from unittest import mock

import typer
from rich.console import Console

from agy_actors.cli import demo_command
from agy_actors.cli.model_choice import ModelOptions

_COLUMNS = 100
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""The fonts that rich's SVG fetches from another site. Without them, the reader's own is used."""


def main(
    out: Path,
    *,
    model: str | None = None,
    base_url: str | None = None,
    rehearse: bool = False,
) -> None:
    """Write the picture, if the run of the demo was complete."""
    # A dumb terminal, so that only the last state of the table is recorded.
    recording = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        width=_COLUMNS,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={"TERM": "dumb"},
    )
    with mock.patch.object(demo_command, "console", return_value=recording):
        complete = demo_command.demo(ModelOptions(model, base_url, rehearse))
    if not complete:
        sys.exit("the demo was not complete; run it again")
    svg = recording.export_svg(title="agy-actors demo", unique_id="demo")
    out.write_text(_FONTS.sub("", svg).rstrip() + "\n")


if __name__ == "__main__":
    typer.run(main)
