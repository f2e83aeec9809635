"""The live displays fit into their terminal, whatever its width."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from agy_actors.cli.answer_screen import AnswerScreen
from agy_actors.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import RenderableType

WAIT = "waiting for the model for 12 s; request 3 failed: connection refused; trying again in 10 s"
WIDTHS = [40, 80, 200]


def lines(out: Console, display: RenderableType) -> list[str]:
    """Render a display, as often as a live display does."""
    with out.capture() as capture:
        out.print(display)
    return capture.get().splitlines()


def at_a_terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("total", [5, 1_234_567])
def test_a_progress_bar_is_not_cut(width: int, total: int) -> None:
    out = at_a_terminal(width)
    bar, advance = progress_bar(out, total=total, done=0, shown=True, below=lambda: WAIT)
    advance()

    first, *rest = lines(out, bar.get_renderable())

    assert f" 1/{total} " in first
    assert first.endswith("left -:--:--")
    assert "…" not in first
    assert ("answered" in first) == (width >= 80)
    assert " ".join(" ".join(rest).split()) == WAIT


@pytest.mark.parametrize("wait", [None, "x" * 500])
@pytest.mark.parametrize("width", WIDTHS)
def test_ctrl_c_has_room_after_a_progress_bar(width: int, wait: str | None) -> None:
    """The terminal prints ^C at the cursor, which is at the end of the display."""
    out = at_a_terminal(width)
    bar, _ = progress_bar(out, total=5, done=0, shown=True, below=lambda: wait)

    assert max(map(len, lines(out, bar.get_renderable()))) == width - 2


@pytest.mark.parametrize("width", WIDTHS)
def test_ctrl_c_has_room_after_the_wait_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("agy_actors.cli.answer_screen.console", lambda **_: at_a_terminal(width))
    screen = AnswerScreen(lambda: "x" * 500, interactive=True)

    assert max(map(len, lines(screen.out, screen._render()))) == width - 2
