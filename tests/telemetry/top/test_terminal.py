"""`agy-actors top` in real terminals."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agy_actors.cli.top_command import TOKEN_VARIABLE
from tests.telemetry.top.tmux import Tmux, needs_tmux
from tests.telemetry.top.watched import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_tmux, pytest.mark.slow]

TOP = ("-m", "agy_actors.cli", "top")
VARIABLES = {TOKEN_VARIABLE: TOKEN}


class Program:
    """A program that serves `top`."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.telemetry.top.watched", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self.kill)
            self.url = self._line()
            stack.pop_all()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the program did not start"
        return line

    def does(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        with self._process:  # Closes its pipes, and waits for its end.
            pass

    def kill(self) -> None:
        self._process.kill()
        self.end()


@contextlib.contextmanager
def program(port: int = 0) -> Iterator[Program]:
    running = Program(port)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture
def shop() -> Iterator[Program]:
    with program() as running:
        yield running


def row(screen: str, name: str) -> str:
    return next((line for line in screen.splitlines() if name in line.split()[:3]), "")


def test_an_agent_crashes_and_restarts(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        terminal.shows("north", "blocker", "q quit")
        shop.does("ask hello")
        shop.does("kill")

        terminal.shows("north: crashed", "north: was restarted and is ready")
        terminal.wait_for(lambda screen: "1" in row(screen, "north").split(), "one restart")
        terminal.keys("q")
        assert terminal.ends() == 0


def test_a_turn_is_cancelled(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        terminal.shows("north", "idle")
        shop.does("ask slow")
        terminal.shows("busy", "1 busy")

        terminal.keys("Down", "c")

        screen = terminal.shows("the turn of agent 'north' is cancelled", "ended: TurnCancelled")
        assert "idle" in row(screen, "north")
        terminal.shows("0 busy")


def test_shutting_down_asks_first(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        terminal.shows("north")
        terminal.keys("Down", "s")
        terminal.shows("Shut down agent 'north'? y/n")
        terminal.keys("n")
        terminal.shows("nothing is shut down", " north ")
        terminal.keys("s")
        terminal.shows("Shut down agent 'north'? y/n")
        terminal.keys("y")
        terminal.shows("north: was ended")
        terminal.keys("Home", "s")
        terminal.shows("Shut down supervisor 'shop'? y/n")
        terminal.keys("y")
        terminal.shows("the supervisor has ended")
        terminal.keys("q")
        assert terminal.ends() == 0


def test_an_actor_that_hangs_does_not_block_the_screen(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        terminal.shows("blocker")
        shop.does("hang")
        terminal.shows("no answer 3s")
        terminal.keys("Down")
        terminal.shows(">    north", "no answer 4s")
        shop.does("go")
        terminal.hides("no answer")


@pytest.mark.parametrize("term", ["xterm-256color", "vt100", "dumb"])
@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 5)])
def test_any_terminal_shows_the_agents(shop: Program, size: tuple[int, int], term: str) -> None:
    with Tmux(*TOP, shop.url, size=size, variables=VARIABLES, term=term) as terminal:
        screen = terminal.shows("north")
        terminal.keys("Down")
        terminal.wait_for(
            lambda screen: any(line[:1] == ">" and "north" in line for line in screen.splitlines()),
            "the selection of north",
        )
        terminal.keys("q")
        assert terminal.ends() == 0
    assert max(map(len, screen.splitlines())) <= size[0]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_without_colours_no_colour_is_sent(shop: Program, variables: dict[str, str]) -> None:
    with Tmux(*TOP, shop.url, variables={**VARIABLES, **variables}) as terminal:
        shop.does("ask slow")
        terminal.shows("busy")
        screen = terminal.screen(styles=True)

    colours = [f"\x1b[{number}" for number in (*range(30, 39), *range(40, 49))]
    assert not [colour for colour in colours if f"{colour}m" in screen or f"{colour};" in screen]


def test_colours_are_sent_otherwise(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        shop.does("ask slow")
        terminal.shows("busy")
        assert "\x1b[33m" in terminal.screen(styles=True)


def test_in_an_ascii_locale_only_ascii_is_sent(shop: Program) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Tmux(*TOP, shop.url, variables={**VARIABLES, **ascii_only}) as terminal:
        screen = terminal.shows("north", "s?d")

    assert screen.isascii()


def test_the_terminal_may_be_resized(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables=VARIABLES) as terminal:
        terminal.shows("restarts")
        terminal.resize(40, 10)
        terminal.hides("restarts")
        terminal.resize(90, 20)
        terminal.shows("restarts", "north")


def test_a_program_that_is_gone_is_said_so_and_found_again() -> None:
    with program() as first:
        port = int(first.url.rsplit(":", 1)[1])
        with Tmux(*TOP, first.url, variables=VARIABLES) as terminal:
            terminal.shows("north")
            first.kill()
            screen = terminal.shows("no answer from 127.0.0.1", "trying again")
            assert "north" in screen
            with program(port):
                terminal.shows("q quit")
                terminal.keys("q")
                assert terminal.ends() == 0


def test_the_token_is_asked_for_and_not_shown(shop: Program) -> None:
    with Tmux(*TOP, shop.url) as terminal:
        terminal.shows("Token of the program:")
        terminal.types(TOKEN)
        assert TOKEN not in terminal.shows("north")
        terminal.keys("q")
        assert terminal.ends() == 0
        assert TOKEN not in terminal.screen()


def test_a_wrong_token_is_said_in_plain_words(shop: Program) -> None:
    with Tmux(*TOP, shop.url, variables={TOKEN_VARIABLE: "wrong"}) as terminal:
        assert "the token is missing or wrong" in terminal.shows("agy-actors: ")
        assert terminal.ends() == 2


def test_no_server_is_said_in_plain_words() -> None:
    with Tmux(*TOP, "http://127.0.0.1:1", variables=VARIABLES) as terminal:
        assert "no answer from 127.0.0.1:1" in terminal.shows("agy-actors: ")
        assert terminal.ends() == 2


def test_the_demonstration_shows_a_crash_and_ends_with_its_agents() -> None:
    with Tmux(*TOP, "--demo", size=(100, 30)) as terminal:
        terminal.shows("north", "writers-1", "busy")
        terminal.shows("was restarted and is ready")
        terminal.keys("C-c")
        assert terminal.ends() == 0


PROGRAM = """
import signal
from agy_actors import Supervisor
from agy_actors.telemetry.top import top
from agy_actors.testing import ScriptedModel
before = [signal.getsignal(n) for n in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)]
with ScriptedModel() as model, Supervisor.start(name="mine") as supervisor:
    agent = supervisor.create_agent(model.openai_config(), "north")
    top(supervisor)
    print("still", agent.ask("alive").text)
after = [signal.getsignal(n) for n in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)]
print("handlers", before == after)
"""


def test_a_program_shows_its_own_supervisor_and_goes_on() -> None:
    with Tmux("-c", PROGRAM) as terminal:
        terminal.shows("mine: 1 agent", "north")
        terminal.keys("q")
        terminal.shows("still echo: alive", "handlers True")
        assert terminal.ends() == 0
