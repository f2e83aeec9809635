"""Crashes and dead letters of actors without a supervisor are visible."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

import agy_actors
from agy_actors import AsyncioActor, DeadLetter, Event, InvalidArgument
from tests import programs
from tests.actors.doers import Do, Doer, Gate
from tests.harnesses import PATIENCE, until

CRASHING = """
import asyncio, logging, sys
from agy_actors import AsyncioActor

{setup}

class Calculator(AsyncioActor):
    def on_receive(self, message):
        {failure}

    def on_start(self):
        {start}

ref = Calculator.start()
if ref.is_alive():
    ref.tell("divide")
ref.actor_stopped.wait(20)
"""


def crash(setup: str = "", failure: str = "1 / 0", start: str = "pass") -> str:
    """Return the standard error of a program whose plain actor crashes."""
    program = CRASHING.format(setup=setup, failure=failure, start=start)
    done = programs.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ,
    )
    assert done.stdout == ""
    return str(done.stderr)


def test_a_plain_actor_crashes() -> None:
    printed = crash()

    assert printed.count("Unhandled exception in Calculator") == 1
    assert "ZeroDivisionError: division by zero" in printed


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start": "raise ValueError('no start')"}, "ValueError: no start"),
        ({"failure": "raise asyncio.CancelledError('stray')"}, "CancelledError: stray"),
    ],
    ids=["on_start", "no Exception"],
)
def test_every_error_that_ends_a_plain_actor_is_printed(
    options: dict[str, str], error: str
) -> None:
    printed = crash(**options)

    assert printed.count("Unhandled exception in Calculator") == 1
    assert error in printed


def test_a_crash_is_printed_once_if_logging_is_configured() -> None:
    printed = crash(setup="logging.basicConfig(format='LOGGED %(message)s')")

    assert printed.count("LOGGED Unhandled exception in Calculator") == 1
    assert printed.count("ZeroDivisionError: division by zero") == 1


@pytest.mark.parametrize(
    "setup",
    [
        "logging.getLogger('pykka').addHandler(logging.NullHandler())",
        "logging.getLogger().addHandler(logging.NullHandler())",
        "logging.getLogger('pykka').setLevel(logging.CRITICAL)",
        "logging.disable()",
        "logging.lastResort = None",
    ],
)
def test_errors_are_not_printed_if_logging_is_configured_not_to_show_them(setup: str) -> None:
    assert crash(setup=setup) == ""


def test_a_plain_actor_that_exits_its_thread_prints_nothing() -> None:
    assert crash(failure="sys.exit(3)") == ""


def test_a_plain_actor_ends_before_all_is_handled() -> None:
    events: list[Event] = []
    subscription = agy_actors.subscribe(events.append)
    gate = Gate()
    ref = Doer.start(stop_grace=0.0)
    ref.tell(Do(gate))
    gate.wait()
    ref.tell(Do(lambda actor: actor.stop()))

    ref.stop(timeout=PATIENCE)

    until(lambda: bool(events))
    subscription.cancel()
    event: Any = events[0]
    assert isinstance(event, DeadLetter)
    assert (event.supervisor, event.message) == ("", "Do")
    assert event.agent.startswith("Doer")


def test_dead_letters_of_plain_actors_are_events_until_the_subscription_is_cancelled() -> None:
    events: list[Event] = []
    agy_actors.subscribe(events.append).cancel()

    AsyncioActor.on_dead_letter(Doer(), "late")

    assert not events


@pytest.mark.parametrize("arguments", [{"callback": 5}, {"callback": print, "capacity": 0}])
def test_an_invalid_subscription_to_plain_actors_is_refused(
    arguments: dict[str, Any],
) -> None:
    with pytest.raises(InvalidArgument):
        agy_actors.subscribe(**arguments)
