"""The progress bar of ``agy-actors map``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from agy_actors.cli.console import WithMargin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console, RenderableType
    from rich.progress import Task

__all__ = ["progress_bar"]

_WIDE = 60
"""Columns from which everything fits: 12 for the bar, 15 for seven digits of prompts, and 33."""


class _Rate(ProgressColumn):
    """The number of prompts completed per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", "cyan")


class _Bar(Progress):
    """A progress bar with an optional line below it."""

    below: Callable[[], str | None] = staticmethod(lambda: None)

    def get_renderables(self) -> Iterable[RenderableType]:
        for display in super().get_renderables():
            yield WithMargin(display)
        line = self.below()
        if line is not None:
            yield WithMargin(Text(line, "dim"))


def progress_bar(
    out: Console, *, total: int, done: int, shown: bool, below: Callable[[], str | None]
) -> tuple[Progress, Callable[[], None]]:
    """Make a progress bar with the rate and the remaining time.

    In a narrow console it has no title and no elapsed time.

    Args:
        out: the console.
        total: the number of prompts.
        done: the number of prompts that were done before; they do not count in the rate.
        shown: whether to show the bar.
        below: returns a line to show below the bar, or `None`.

    Returns:
        The bar, a context manager, and a function to call after each prompt.
    """
    is_wide = out.width >= _WIDE
    bar = _Bar(
        *([TextColumn("{task.description}")] if is_wide else []),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        MofNCompleteColumn(),
        _Rate(),
        *([TimeElapsedColumn()] if is_wide else []),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=out,
        disable=not shown,
        expand=True,
    )
    bar.below = below
    task = bar.add_task("answered", total=total, completed=done)
    return bar, lambda: bar.advance(task)
