"""Two programs, and several supervisors in one, that use the same agents in one `state_dir`.

The party that asks holds the agent's conversation until it releases it, sleeps or is killed.
Meanwhile the others are refused, and afterwards they are not. At the end the conversation must have
every answered turn.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from agy_actors import GetStatistics, Supervisor
from agy_actors.testing import say
from tests.soak.chaos._model import answered_before
from tests.soak.chaos._other_program import OtherProgram, ask_by_name, leave_by_name
from tests.soak.chaos._trial import SOON, Ground, Trial, has_ended, missing, wait_until

if TYPE_CHECKING:
    import random
    import threading

    import psutil


__all__ = ["TwoPrograms"]

_IN_USE = "ConversationInUse"
_HISTORY = "history of "
_IDLE = 0.2
"""Seconds after which agents of one of the supervisors sleep. Arbitrary, and short."""


class _Party(Protocol):
    """A party that uses the agents."""

    name: str
    may_sleep: bool
    """Whether it releases conversations by itself, after a while."""

    def ask(self, agent: str, prompt: str) -> tuple[str, str]:
        """Ask an agent; return the outcome, and the reply or the error."""
        ...

    def leave(self, agent: str) -> str:
        """Release an agent's conversation; return how."""
        ...

    def end(self) -> None:
        """End, with all agents."""
        ...


class _Local:
    """A supervisor in this program. With `sleeps`, its agents release conversations by sleeping."""

    def __init__(self, name: str, ground: Ground, state_dir: Path, *, sleeps: bool) -> None:
        self.name = name
        self.may_sleep = sleeps
        self._config = ground.model.openai_config()
        self._idle_timeout = _IDLE if sleeps else None
        self._supervisor = Supervisor.start(name=name, state_dir=state_dir)

    def ask(self, agent: str, prompt: str) -> tuple[str, str]:
        return ask_by_name(self._supervisor, self._config, agent, prompt, self._idle_timeout)

    def leave(self, agent: str) -> str:
        if self._idle_timeout is None:
            leave_by_name(self._supervisor, agent)
            return "stopped"
        ref = self._supervisor.children()[agent]
        wait_until(lambda: ref.ask(GetStatistics(), timeout=SOON).state == "asleep", SOON)
        return "asleep"

    def end(self) -> None:
        self._supervisor.stop()


class _Foreign:
    """The other program. It ends in order or is killed, and is then started again."""

    name = "the other program"
    may_sleep = False

    def __init__(self, trial: TwoPrograms, state_dir: Path) -> None:
        self._trial = trial
        self._state_dir = state_dir
        self._program = trial.start_other(state_dir)

    def ask(self, agent: str, prompt: str) -> tuple[str, str]:
        what, text = self._program.order(do="ask", agent=agent, prompt=prompt)
        return what, text

    def leave(self, agent: str) -> str:
        if self._trial.draws_kill():
            started = self._program.kill()
            self._trial.check_ended(started)
            self._program = self._trial.start_other(self._state_dir)
            return "killed"
        self._program.order(do="leave", agent=agent)
        return "stopped"

    def end(self) -> None:
        self._trial.check_end(self._program.end())


class TwoPrograms(Trial):
    """Lets several parties ask the same agent."""

    fault: ClassVar[str] = "two programs on one state_dir"

    def __init__(
        self,
        number: int,
        ground: Ground,
        chance: random.Random,
        over: threading.Event,
        pause: float,
    ) -> None:
        super().__init__(number, ground, chance, over, pause)
        ground.model.when(f"^{_HISTORY}", say(lambda request: " ".join(answered_before(request))))

    def run_round(self) -> None:
        """Let all parties ask the same agents, and check what the agents remember."""
        folder = Path(tempfile.mkdtemp(dir=self._ground.folder))
        parties: list[_Party] = []
        try:
            parties.append(_Local("first", self._ground, folder, sleeps=False))
            parties.append(_Local("second", self._ground, folder, sleeps=False))
            parties.append(_Local("sleeper", self._ground, folder, sleeps=True))
            parties.append(_Foreign(self, folder))
            for agent in ("ada", "bob"):
                self._use_in_turn(parties, agent)
        finally:
            for party in parties:
                party.end()
            shutil.rmtree(folder)

    def _use_in_turn(self, parties: list[_Party], agent: str) -> None:
        answered: list[str] = []
        holder: _Party | None = None
        left = "never used"
        for _ in range(self._chance.randint(4, 8)):
            party = self._chance.choice(parties)
            prompt = self._prompt()
            what, text = party.ask(agent, prompt.text)
            self.outcomes[what] += 1
            if what == "answer":
                if holder not in (None, party) and not holder.may_sleep:
                    self._blame(f"{party.name} was answered while {holder.name} had {agent}")
                answered.append(prompt.nonce)
                holder = party
            elif what == _IN_USE:
                if holder in (None, party):
                    self._blame(
                        f"{party.name} was refused {agent}, which was free ({left}): {text}"
                    )
            else:
                self._blame(f"{party.name}, asking {agent}: {what}: {text}")
            if holder is not None and self._chance.random() < 0.4:
                left = f"{holder.name} {holder.leave(agent)}"
                holder = None
        if holder is not None:
            holder.leave(agent)
        what, text = parties[0].ask(agent, f"{_HISTORY}{agent}")
        parties[0].leave(agent)
        if what != "answer":
            self._blame(f"no party could ask {agent} at the end: {what}: {text}")
        elif lost := missing(answered, text.split()):
            self._blame(f"{agent} lost {lost} of {answered}")
        self.outcomes["histories"] += 1

    # For the other program.

    def start_other(self, state_dir: Path) -> OtherProgram:
        """Start the other program."""
        return OtherProgram(self._ground.model.base_url, state_dir)

    def draws_kill(self) -> bool:
        """Draw whether the other program is killed."""
        return self._chance.random() < 0.3

    def check_ended(self, started: list[psutil.Process]) -> None:
        """Check that the processes of a killed program end soon."""
        self.outcomes["SIGKILL of the other"] += 1
        for process in started:
            if not wait_until(functools.partial(has_ended, process), SOON):
                self._blame(f"{process.name()} outlived the SIGKILL of its program")
                process.kill()

    def check_end(self, ended: bool) -> None:
        """Check that the other program ended on request."""
        if not ended:
            self._blame("the other program did not end")
