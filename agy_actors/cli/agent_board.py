"""The live table that ``agy-actors demo`` shows on a terminal.

Below the table is a line that says what the command waits for. In a narrow terminal the table has
no prompts and answers; they are printed above it anyway.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pykka
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agy_actors import AgentStatistics, GetStatistics
from agy_actors.cli.console import WithMargin, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from agy_actors import AgentRef, ReplyFuture

__all__ = ["AgentBoard"]

_REFRESH = 8
"""Redraws a second. Arbitrary: often enough to show a state that lasts a tenth of a second."""

_WIDE = 80
"""Columns from which the table has prompts and answers. They get 20 columns each. Arbitrary."""

_STATE_STYLES = {"idle": "green", "busy": "yellow", "restarting": "bold red", "ended": "red"}
_COLOURS = ("cyan", "magenta", "blue", "yellow")


@dataclass
class _Row:
    """One agent on the board."""

    ref: AgentRef
    prompt: str = ""
    answer: str = ""
    killed: bool = False
    """Whether its process was killed; until it responds again, it is restarting."""

    statistics: AgentStatistics | None = None
    requested: ReplyFuture[AgentStatistics] | None = field(default=None, repr=False)

    def refresh(self) -> None:
        """Take the last statistics that arrived and ask for new ones; does not block."""
        try:
            if self.requested is not None and self.requested.done():
                future, self.requested = self.requested, None
                self.statistics = future.get()
            if self.requested is None:
                self.requested = self.ref.ask(GetStatistics(), block=False)
        except pykka.ActorDeadError:
            self.requested = None

    @property
    def state(self) -> str:
        """The state to show."""
        if not self.ref.is_alive():
            return "ended"
        if self.killed and (self.statistics is None or not self.statistics.restarts):
            return "restarting"
        state = "starting" if self.statistics is None else self.statistics.state
        return "restarting" if self.killed and state == "starting" else state


class AgentBoard:
    """A live table of agents on a terminal, and a line for each event everywhere. Thread-safe.

    Args:
        out: the console.
        refs: the agents, in the order of their rows.
        describe_wait: returns what the command waits for, or `None`.
    """

    def __init__(
        self,
        out: Console,
        refs: Sequence[AgentRef],
        describe_wait: Callable[[], str | None],
    ) -> None:
        self._out = out
        self._describe_wait = describe_wait
        self._rows = {ref.name: _Row(ref) for ref in refs}
        self._colours = {ref.name: _COLOURS[i % len(_COLOURS)] for i, ref in enumerate(refs)}
        self._width = max(len(ref.name) for ref in refs)
        self._lock = threading.Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table during the block, and leave its final state on the terminal."""
        if not self._out.is_terminal:
            yield
            return
        with Live(
            console=self._out, get_renderable=self._display, refresh_per_second=_REFRESH
        ) as live:
            yield
            for row in self._rows.values():
                row.refresh()
                if row.requested is not None:
                    row.statistics = row.requested.get()
            live.refresh()

    def show_prompt(self, name: str, prompt: str) -> None:
        """Record the prompt that an agent is asked."""
        row = self._rows[name]
        row.prompt, row.answer = prompt, ""

    def show_answer(self, name: str, answer: str) -> None:
        """Record an agent's answer, and print it with its prompt."""
        row = self._rows[name]
        row.answer = answer
        self.say(name, f"{one_line(row.prompt)} → ", (one_line(answer), "bold"))

    def show_failure(self, name: str, why: str) -> None:
        """Record that an agent did not answer, and print why."""
        row = self._rows[name]
        row.answer = f"✗ {why}"
        self.say(name, f"{one_line(row.prompt)} → ", (f"✗ {one_line(why)}", "bold red"))

    def show_kill(self, name: str, what: str) -> None:
        """Record that an agent's process was killed, and print it."""
        self._rows[name].killed = True
        self.say(name, (what, "bold red"))

    def say(self, name: str, *parts: str | tuple[str, str]) -> None:
        """Print a line about an agent."""
        head = (f"{name:<{self._width}}  ", self._colours[name])
        with self._lock:
            self._out.print(Text.assemble(head, *parts))

    def _display(self) -> RenderableType:
        parts: list[RenderableType] = [self._table(is_wide=self._out.width >= _WIDE)]
        wait = self._describe_wait()
        if wait is not None:
            parts.append(Text(wait, "dim"))
        return WithMargin(Group(*parts))

    def _table(self, *, is_wide: bool) -> Table:
        table = Table(expand=is_wide, show_edge=False, pad_edge=False)
        table.add_column("agent", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=10)
        table.add_column("turns", justify="right")
        table.add_column("restarts", justify="right")
        if is_wide:
            table.add_column("last prompt", no_wrap=True, overflow="ellipsis", ratio=1)
            table.add_column("answer", no_wrap=True, overflow="ellipsis", ratio=1)
        for name, row in self._rows.items():
            row.refresh()
            state, statistics = row.state, row.statistics
            cells = [
                Text(name, self._colours[name]),
                Text(state, _STATE_STYLES.get(state, "")),
                Text("" if statistics is None else str(statistics.turns)),
                Text(
                    "" if statistics is None else str(statistics.restarts),
                    "bold" * bool(statistics and statistics.restarts),
                ),
            ]
            if is_wide:
                cells += [Text(one_line(row.prompt)), Text(one_line(row.answer), "bold")]
            table.add_row(*cells)
        return table
