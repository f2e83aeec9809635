from __future__ import annotations

import gc
import tempfile
import threading
from typing import TYPE_CHECKING

import psutil
import pykka
import pytest

from agy_actors import AgentDeadError, Chat, CreateAgent, Supervisor
from agy_actors.testing import ScriptedModel, say
from tests.harnesses import children

if TYPE_CHECKING:
    from pathlib import Path


def stop_in_mid_turn(agents: int) -> None:
    """Start a model, a supervisor and agents, and stop them while all are busy."""
    with ScriptedModel(say("and so on", gate=threading.Event())) as model:
        supervisor = Supervisor.start()
        creations = [
            supervisor.ask(CreateAgent(model.openai_config()), block=False) for _ in range(agents)
        ]
        turns = [creation.get().ask(Chat("hi"), block=False) for creation in creations]
        model.wait_for_requests(agents)

        supervisor.stop()

        for turn in turns:
            with pytest.raises(AgentDeadError):
                turn.get(timeout=5)
            model.wait_for_disconnect()


@pytest.mark.new_processes
@pytest.mark.timeout(120)
@pytest.mark.parametrize("rounds", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_supervisors_that_come_and_go_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stop_in_mid_turn(1)  # Make now the objects that are made once.
    gc.collect()
    threads = set(threading.enumerate())
    descriptors = psutil.Process().num_fds()
    processes = set(children())  # Such as one that multiprocessing keeps for its own use.

    for number in range(rounds):
        stop_in_mid_turn(1 + number % 2)

    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
    assert set(threading.enumerate()) <= threads
    assert psutil.Process().num_fds() <= descriptors
    assert list(tmp_path.iterdir()) == []
    assert set(children()) <= processes
    assert pykka.ActorRegistry.get_all() == []
