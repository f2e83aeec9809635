"""The textual application of `top`: it draws lines and handles keys.

`rows` and `layout` decide what is shown. Only the rows on the screen are formatted, and only when a
snapshot or a key has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from agy_actors.telemetry.top import layout
from agy_actors.telemetry.top.history import History
from agy_actors.telemetry.top.layout import Line
from agy_actors.telemetry.top.poller import Done, Failed, Poller
from agy_actors.telemetry.top.rows import make_rows, select, summarize
from agy_actors.telemetry.top.screen import Screen, compose_screen
from agy_actors.telemetry.top.source import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.events import Key, Resize

    from agy_actors.telemetry.top.rows import Row
    from agy_actors.telemetry.top.snapshot import LoggedEvent, Snapshot
    from agy_actors.telemetry.top.source import Source

__all__ = ["TopApp"]

_EVENTS_KEPT = 500
"""How many events are kept for the log. Arbitrary: many more than a screen shows."""


class News(Message):
    """The poller has something new."""

    def __init__(self, news: Snapshot | Failed | Done) -> None:
        super().__init__()
        self.news = news


class Lines(Widget):
    """Draws the lines that it has; one for each line of the screen."""

    DEFAULT_CSS = "Lines { width: 100%; height: 100%; }"

    def __init__(self, encoding: str, *, plain: bool) -> None:
        super().__init__()
        self._encoding = encoding
        self._plain = plain
        self._lines: list[Line] = []

    @property
    def text(self) -> str:
        """The text of all lines, without trailing spaces."""
        return "\n".join(line.text.rstrip() for line in self._lines)

    def show(self, lines: list[Line]) -> None:
        """Draw these lines."""
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen, for textual."""
        line = self._lines[y] if y < len(self._lines) else Line("")
        words = line.style.split()
        if self._plain:
            words = [word for word in words if word in ("bold", "reverse")]
        text = layout.shown_in(layout.cut(line.text, self.size.width), self._encoding)
        return Strip([Segment(text, Style.parse(" ".join(words)))], self.size.width)


class TopApp(App[None]):
    """Shows a supervisor and all below it.

    Args:
        source: where it is read. The caller closes it.
        name: the name of the program, for the first line.
        encoding: the encoding of the terminal. Other characters are shown as "?".
        plain: whether to use no colours.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = []
    CSS = "Screen { background: ansi_default; overflow: hidden; }"

    def __init__(
        self, source: Source, name: str = "", *, encoding: str = "utf-8", plain: bool = False
    ) -> None:
        super().__init__(ansi_color=True)
        self._poller = Poller(source, self._deliver)
        self._program = name
        self._lines = Lines(encoding, plain=plain)
        self._history = History()
        self._now: Snapshot | None = None
        self._before: Snapshot | None = None
        self._rows: list[Row] = []
        self._events: list[LoggedEvent] = []
        self._collapsed: set[str] = set()
        self._selected: str | None = None
        self._index = 0
        self._top = 0
        self._problem = ""
        """Why the last read failed; empty if it did not."""
        self._notice = ""
        """What became of the last action."""
        self._asks: Row | None = None
        """The row that is to be shut down, if this is confirmed."""
        self._helps = False

    def screen_text(self) -> str:
        """Return the text on the screen."""
        return self._lines.text

    # Its life.

    def compose(self) -> ComposeResult:
        """Return the only widget, for textual."""
        yield self._lines

    def on_mount(self) -> None:
        """Begin to read."""
        self.theme = "ansi-dark"
        self._poller.start()

    def on_unmount(self) -> None:
        """End the thread of the poller."""
        self._poller.close()

    def on_resize(self, _: Resize) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._draw)

    def _deliver(self, news: Snapshot | Failed | Done) -> None:
        self.post_message(News(news))

    def on_news(self, message: News) -> None:
        """Take what the poller has read."""
        match message.news:
            case Failed(words):
                self._problem = words
            case Done(words):
                self._notice = words
            case snapshot:
                self._take(snapshot)
        self._draw()

    def _take(self, snapshot: Snapshot) -> None:
        self._problem = ""
        if self._now is not None and snapshot.last_event < self._now.last_event:
            self._events.clear()  # The program was started again.
        self._events = [*self._events, *snapshot.events][-_EVENTS_KEPT:]
        self._now, self._before = snapshot, self._history.add(snapshot)
        self._arrange()

    def _arrange(self) -> None:
        """Make the rows."""
        if self._now is None:
            return
        self._rows = make_rows(self._now, self._before, self._collapsed)
        self._move(select(self._rows, self._selected, self._index))

    def _move(self, index: int) -> None:
        self._index = max(0, min(index, len(self._rows) - 1))
        self._selected = self._rows[self._index].node.id if self._rows else None

    def _draw(self) -> None:
        width, height = self.size
        screen = Screen(
            name=self._program,
            summary=None if self._now is None else summarize(self._now, self._before),
            ended=self._now is not None and self._now.ended,
            rows=self._rows,
            selected=self._index,
            top=self._top,
            events=self._events,
            problem=self._problem,
            notice=self._notice,
            asks=None if self._asks is None else self._asks.node,
            helps=self._helps,
        )
        lines, self._top = compose_screen(screen, width, height)
        self._lines.show(lines)

    # Keys.

    async def on_key(self, event: Key) -> None:
        """Handle a key."""
        event.stop()
        self._press(event.key, event.character or "")
        self._draw()

    def _press(self, key: str, character: str) -> None:
        if key in ("ctrl+c", "ctrl+q"):
            self.exit()
        elif self._asks is not None:
            self._answer(character)
        elif self._helps:
            self._helps = False
        else:
            self._notice = ""
            action = self._keys().get(key) or self._keys().get(character)
            if action is not None:
                action()

    def _answer(self, character: str) -> None:
        asked, self._asks = self._asks, None
        if asked is not None and character in ("y", "Y"):
            self._poller.act(Action.SHUT_DOWN, asked.node.id)
        else:
            self._notice = "nothing is shut down"

    def _keys(self) -> dict[str, Callable[[], object]]:
        page = max(1, self.size.height - 4)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page}
        moves = {key: lambda by=by: self._move(self._index + by) for key, by in steps.items()}
        return {
            **moves,
            "home": lambda: self._move(0),
            "end": lambda: self._move(len(self._rows) - 1),
            "left": lambda: self._fold(fold=True),
            "right": lambda: self._fold(fold=False),
            "space": lambda: self._fold(fold=None),
            "enter": lambda: self._fold(fold=None),
            "c": lambda: self._act(Action.CANCEL),
            "r": lambda: self._act(Action.RESTART),
            "s": self._ask,
            "?": self._help,
            "h": self._help,
            "q": self.exit,
        }

    @property
    def _row(self) -> Row | None:
        return self._rows[self._index] if self._rows else None

    def _fold(self, *, fold: bool | None) -> None:
        row = self._row
        if row is None:
            return
        if not row.expanded and fold is True:
            self._select_parent(row)
        elif row.expanded and fold is not False:
            self._collapsed.add(row.node.id)
        elif fold is not True:
            self._collapsed.discard(row.node.id)
        self._arrange()

    def _select_parent(self, row: Row) -> None:
        for index, other in enumerate(self._rows):
            if other.node.id == row.node.parent:
                self._move(index)

    def _act(self, action: Action) -> None:
        row = self._row
        if row is not None:
            self._notice = f"{action.value} of {row.node.kind} {row.node.name!r} ..."
            self._poller.act(action, row.node.id)

    def _ask(self) -> None:
        self._asks = self._row

    def _help(self) -> None:
        self._helps = True

    async def action_quit(self) -> None:
        """Leave."""
        self.exit()
