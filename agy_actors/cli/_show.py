"""What the commands show: plain lines, and on a terminal a live table or a progress bar.

What a model or a user said is never taken for markup, and cannot steer the terminal.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pykka
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from agy_actors import AgentStatistics, GetStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Task

    from agy_actors import AgentRef, ReplyFuture

__all__ = ["Board", "Row", "console", "harmless", "one_line", "progress_bar"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # All of C0 and C1 but \t and \n.
_REFRESH = 8  # Times a second: states that last a tenth of a second are seen.
_STATE_STYLES = {"idle": "green", "busy": "yellow", "restarting": "bold red", "ended": "red"}
_COLOURS = ("cyan", "magenta", "blue", "yellow")


def console(*, stderr: bool = False) -> Console:
    """Make a console that shows text as it is: no markup, no emoji codes, no highlighting.

    It breaks lines on a terminal, between words; what another program reads it leaves whole.
    """
    out = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    out.soft_wrap = not out.is_terminal
    return out


def harmless(text: str) -> str:
    """Replace the control characters, by which a text could steer the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Put a text into one harmless line."""
    return harmless(" ".join(text.split()))


@dataclass
class Row:
    """One agent on the board."""

    ref: AgentRef
    prompt: str = ""
    answer: str = ""
    killed: bool = False
    """Whether its process was killed, so that silence of it means that it restarts."""

    seen: AgentStatistics | None = None
    asked: ReplyFuture[AgentStatistics] | None = field(default=None, repr=False)

    def look(self) -> None:
        """Take what the agent last said of itself, and ask again; waits for nothing."""
        try:
            if self.asked is not None and self.asked.done():
                future, self.asked = self.asked, None
                self.seen = future.get()
            if self.asked is None:
                self.asked = self.ref.ask(GetStatistics(), block=False)
        except pykka.ActorDeadError:
            self.asked = None

    @property
    def state(self) -> str:
        """What the agent does."""
        if not self.ref.is_alive():
            return "ended"
        if self.killed and (self.seen is None or not self.seen.restarts):
            return "restarting"
        state = "starting" if self.seen is None else self.seen.state
        return "restarting" if self.killed and state == "starting" else state


class Board:
    """A live table of agents on a terminal; elsewhere nothing but the lines.

    Its methods are for any thread.

    Args:
        out: where to show it.
        refs: the agents, in the order of their rows.
    """

    def __init__(self, out: Console, refs: Sequence[AgentRef]) -> None:
        self._out = out
        self._rows = {ref.name: Row(ref) for ref in refs}
        self._colours = {ref.name: _COLOURS[i % len(_COLOURS)] for i, ref in enumerate(refs)}
        self._width = max(len(ref.name) for ref in refs)
        self._lock = threading.Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table for the block, and its last state after it."""
        if not self._out.is_terminal:
            yield
            return
        with Live(
            console=self._out, get_renderable=self._table, refresh_per_second=_REFRESH
        ) as live:
            yield
            for row in self._rows.values():
                row.look()
                if row.asked is not None:
                    row.seen = row.asked.get()
            live.refresh()

    def asks(self, name: str, prompt: str) -> None:
        """Note what an agent is asked."""
        row = self._rows[name]
        row.prompt, row.answer = prompt, ""

    def answers(self, name: str, answer: str) -> None:
        """Note what it answered, and show both."""
        row = self._rows[name]
        row.answer = answer
        self.say(name, f"{one_line(row.prompt)} → ", (one_line(answer), "bold"))

    def fails(self, name: str, why: str) -> None:
        """Note that it did not answer, and show why."""
        row = self._rows[name]
        row.answer = f"✗ {why}"
        self.say(name, f"{one_line(row.prompt)} → ", (f"✗ {one_line(why)}", "bold red"))

    def killed(self, name: str, what: str) -> None:
        """Note that an agent's process was killed, and show it."""
        self._rows[name].killed = True
        self.say(name, (what, "bold red"))

    def say(self, name: str, *parts: str | tuple[str, str]) -> None:
        """Show a line about an agent."""
        head = (f"{name:<{self._width}}  ", self._colours[name])
        with self._lock:
            self._out.print(Text.assemble(head, *parts))

    def _table(self) -> Table:
        table = Table(expand=True, pad_edge=False)
        table.add_column("agent", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=10)
        table.add_column("turns", justify="right")
        table.add_column("restarts", justify="right")
        table.add_column("last prompt", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("answer", no_wrap=True, overflow="ellipsis", ratio=1)
        for name, row in self._rows.items():
            row.look()
            state, seen = row.state, row.seen
            table.add_row(
                Text(name, self._colours[name]),
                Text(state, _STATE_STYLES.get(state, "")),
                Text("" if seen is None else str(seen.turns)),
                Text(
                    "" if seen is None else str(seen.restarts),
                    "bold" * bool(seen and seen.restarts),
                ),
                Text(one_line(row.prompt)),
                Text(one_line(row.answer), "bold"),
            )
        return table


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", "cyan")


def progress_bar(out: Console, *, total: int, done: int, shown: bool) -> tuple[Progress, Any]:
    """Make a progress bar with rate and time left.

    Args:
        out: where to show it.
        total: how many there are.
        done: how many were done before; they do not count in the rate.
        shown: whether to show it at all.

    Returns:
        The bar, a context manager, and its task.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=out,
        disable=not shown,
        expand=True,
    )
    return bar, bar.add_task("answered", total=total, completed=done)
