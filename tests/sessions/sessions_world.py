"""Plays what is around the logic of sessions: agents, other programs, clocks and askers.

It checks after each event what must hold of any sessions at any time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from agy_actors import AgentDeadError, AgentStartError, ModelError, TurnTimeout
from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.sessions_logic import decide
from agy_actors._sessions.sessions_state import KeyPhase, SessionsPhase, SessionsState
from agy_actors._supervision import pool_steps
from agy_actors._supervision.pool_state import Turn

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Agent", "SessionsWorld"]

_CANCELLED = object()


@dataclasses.dataclass(eq=False)
class Agent:
    """An agent of a session."""

    state: str = "starting"
    """One of: starting, up, down (it restarts), closing (it takes no message, and the sessions do
    not know it yet), ending (it was told to end)."""

    was_up: bool = False
    turn: Turn | None = None
    runs_on: bool = False
    """Whether it is still busy with a turn that was answered."""
    questions: list[Turn] = dataclasses.field(default_factory=list)
    turns_since_wanted: int | None = None
    """How many turns it got since another program asked for its conversation."""
    was_busy: bool = False
    """Whether it had had a turn by then."""


class SessionsWorld:
    """Sessions whose agents, askers and other programs do what the test says.

    Args:
        max_awake: how many agents may exist at a time.
        idle_timeout: as of `SessionsState`.
    """

    def __init__(self, max_awake: int = 2, *, idle_timeout: float | None = 300.0) -> None:
        self.state = SessionsState(
            "s",
            max_awake=max_awake,
            idle_timeout=idle_timeout,
            dead_error=AgentDeadError,
            timeout_error=TurnTimeout,
        )
        self.now = 0.0
        self.agents: dict[str, Agent] = {}
        self.deleting: set[str] = set()
        """The sessions whose files are being removed."""
        self.unmakeable: set[str] = set()
        """The sessions whose agents cannot be made."""
        self.elsewhere: set[str] = set()
        """The conversations that another program has open."""
        self.owners_asked: set[str] = set()
        """Those that this program asked for."""
        self.asked: list[Turn] = []
        self.questions: set[Turn] = set()
        self.answers: Counter[Turn] = Counter()
        self.outcomes: dict[Turn, object] = {}
        self.abandoned: set[Turn] = set()
        """The turns that were cancelled, and of which the sessions may not know it yet."""
        self.handed: list[tuple[Turn, str]] = []
        self.begun: dict[str, list[Turn]] = defaultdict(list)
        """The turns that were handed over, by key."""
        self.requests: list[str] = []
        self.settled: Counter[Hashable] = Counter()
        self.errors: dict[Hashable, Exception | None] = {}
        self._unreported: set[Turn] = set()
        """The turns and questions that an agent has lost, which the sessions do not know yet."""
        self._events: deque[steps.Event] = deque()
        self._carries_out = False

    # Events.

    def tell(self, event: steps.Event) -> list[steps.Action]:
        """Send an event to the sessions, and carry out its actions and those that follow."""
        self._events.append(event)
        if self._carries_out:
            return []  # As in the actor: the other actions come first.
        self._carries_out = True
        done: list[steps.Action] = []
        try:
            while self._events:
                for action in decide(self.state, self._events.popleft(), self.now):
                    self._carry_out(action)
                    done.append(action)
        finally:
            self._carries_out = False
        self.check()
        return done

    def ask(self, key: str, seconds: float = 100.0, *, question: bool = False) -> Turn:
        turn = Turn(work=f"turn {len(self.asked)}", key=key)
        self.asked.append(turn)
        if question:
            self.questions.add(turn)
        self.tell(steps.Asked(turn, seconds, question))
        return turn

    def abandon(self, turn: Turn) -> None:
        """Let the asker of a turn stop waiting. The sessions are told later."""
        if not self.answers[turn]:
            self._answer(turn, _CANCELLED)
            self.abandoned.add(turn)

    def report_cancelled(self, turn: Turn) -> None:
        self.tell(pool_steps.Cancelled(turn))

    def request(self, kind: str, key: str, seconds: float = 100.0) -> str:
        request = f"{kind} {len(self.requests)} of {key}"
        self.requests.append(request)
        match kind:
            case "wake":
                self.tell(steps.WakeAsked(request, key, seconds))
            case "sleep":
                self.tell(steps.SleepAsked(request, key))
            case _:
                self.tell(steps.DeleteAsked(request, key))
        return request

    # Events of agents.

    def in_state(self, *states: str) -> list[str]:
        """Return the sessions whose agents are in one of these states."""
        return [key for key, agent in self.agents.items() if agent.state in states]

    def become_ready(self, key: str) -> None:
        self.agents[key].state = "up"
        self.agents[key].was_up = True
        self.tell(steps.AgentReady(key))

    def go_down(self, key: str) -> None:
        self.agents[key].state = "down"
        self.tell(steps.AgentDown(key))

    def find_in_use(self, key: str) -> None:
        """End an agent that starts: another program has opened the conversation first."""
        del self.agents[key]
        self.elsewhere.add(key)
        self.tell(steps.InUse(key))

    def hang(self, key: str) -> None:
        """Replace the thread of an agent, which loses its turn and restarts."""
        agent = self.agents[key]
        turn, agent.turn, agent.state = agent.turn, None, "down"
        self._unreported.update([turn] if turn else [])
        self.tell(steps.AgentDown(key))
        if agent.runs_on:
            agent.runs_on = False
            self.tell(pool_steps.Freed(key, self.now))
        elif turn is not None:
            self._lose(turn, key, "hung", for_good=False)

    def _lose(self, turn: Turn, key: str, why: str, *, for_good: bool = True) -> None:
        self._unreported.discard(turn)
        if self.outcomes.get(turn, _CANCELLED) is _CANCELLED:
            self.tell(pool_steps.Lost(turn, key, AgentDeadError(why), for_good=for_good))
        else:  # It was answered before.
            self.tell(pool_steps.Finished(turn, key, now=self.now))

    def reply_early(self, key: str) -> None:
        """Let an agent answer its turn. The sessions are told later, by `reply`."""
        turn = self.agents[key].turn
        assert turn is not None
        if not self.answers[turn]:
            self._answer(turn, "reply")

    def reply(self, key: str, *, error: Exception | None = None, runs_on: bool = False) -> None:
        agent = self.agents[key]
        turn = agent.turn
        assert turn is not None
        if not self.answers[turn]:  # A future accepts one reply.
            self._answer(turn, error or "reply")
        agent.turn, agent.runs_on = None, runs_on
        self.tell(pool_steps.Finished(turn, key, None, error, runs_on, self.now))

    def free(self, key: str) -> None:
        self.agents[key].runs_on = False
        self.tell(pool_steps.Freed(key, self.now))

    def answer_question(self, key: str) -> None:
        turn = self.agents[key].questions.pop(0)
        if not self.answers[turn]:
            self._answer(turn, "reply")
        self.tell(pool_steps.Finished(turn, key, now=self.now))

    def end(self, key: str, *, error: Exception | None = None, late: bool = False) -> None:
        """End an agent; what it has is reported as lost before its end, or after it."""
        agent = self.agents[key]
        agent.state = "closing"
        left = [*agent.questions, *([] if agent.turn is None else [agent.turn])]
        agent.questions, agent.turn = [], None
        self._unreported.update(left)
        if late:
            self._report_end(key, error)
        for turn in left:
            self._lose(turn, key, "it ended")
        if agent.runs_on:
            agent.runs_on = False
            self.tell(pool_steps.Freed(key, self.now))
        if not late:
            self._report_end(key, error)

    def _report_end(self, key: str, error: Exception | None) -> None:
        del self.agents[key]
        self.tell(steps.AgentEnded(key, error))

    def fail_start(self, key: str) -> None:
        self.end(key, error=AgentStartError("it did not start"))

    # Events of other programs.

    def want(self, *keys: str) -> list[steps.Action]:
        """Note the requests of other programs, all of them: others are withdrawn."""
        for key, agent in self.agents.items():
            if key not in keys:
                agent.turns_since_wanted = None
            elif agent.turns_since_wanted is None:
                agent.turns_since_wanted = 0
                agent.was_busy = agent.was_busy or agent.turn is not None
        return self.tell(steps.Wanted(frozenset(keys)))

    def release(self, key: str) -> None:
        """Let the other program close a conversation, which the look at it notices."""
        self.elsewhere.discard(key)
        self.tell(steps.Released(key))

    def remove(self, key: str, how: str) -> None:
        """End the removal of files: "removed", "in use" or "failed"."""
        self.deleting.remove(key)
        if how == "in use":
            self.elsewhere.add(key)
            self.tell(steps.InUse(key))
        else:
            self.tell(steps.Removed(key, OSError("no") if how == "failed" else None))

    # Actions.

    def _answer(self, turn: Turn, outcome: object) -> None:
        self.answers[turn] += 1
        self.outcomes[turn] = outcome

    def _carry_out(self, action: steps.Action) -> None:
        match action:
            case steps.StartAgent(key):
                self._start(key)
            case steps.EndAgent(key, handed_over=handed_over):
                agent = self.agents[key]
                assert agent.state in ("starting", "up", "down", "closing"), agent
                assert not handed_over or agent.turns_since_wanted is not None
                agent.state = "ending"
            case steps.StopAsking(key):
                self.owners_asked.discard(key)
            case steps.AskOwner(key):
                assert self.state.keys[key].phase is KeyPhase.ELSEWHERE
                self.owners_asked.add(key)
            case steps.RemoveFiles(key):
                assert key not in self.agents
                assert key not in self.deleting
                self.deleting.add(key)
            case steps.AnswerRequest(request, error):
                self.settled[request] += 1
                self.errors[request] = error
            case _:
                self._carry_out_for_turn(action)

    def _carry_out_for_turn(self, action: steps.Action) -> None:
        match action:
            case pool_steps.HandOver(turn, key):
                self._hand_over(turn, key)
            case pool_steps.FailTurn(turn, error):
                assert not self._is_with_an_agent(turn)
                if self.outcomes.get(turn) is not _CANCELLED:
                    self._answer(turn, error)
            case pool_steps.RejectTurn(turn):
                if not self.answers[turn]:
                    assert not self._is_with_an_agent(turn) or not self.agents
                    self._answer(turn, AgentDeadError("it ended"))
            case _:
                raise AssertionError(action)

    def _start(self, key: str) -> None:
        assert key not in self.agents
        assert key not in self.deleting
        if key in self.elsewhere:
            self._events.append(steps.InUse(key))
        elif key in self.unmakeable:
            self._events.append(steps.AgentEnded(key, ModelError("no configuration")))
        else:
            self.agents[key] = Agent()
            assert len(self.agents) <= self.state.max_awake

    def _hand_over(self, turn: Turn, key: str) -> None:
        assert turn.key == key, "a turn of one session went to another"
        assert not self._is_with_an_agent(turn)
        agent = self.agents[key]
        if self.outcomes.get(turn) is _CANCELLED:
            self._events.append(pool_steps.Finished(turn, key, now=self.now))
            return
        assert not self.answers[turn]
        if agent.state == "closing":
            self._events.append(pool_steps.Refused(turn, key))
            return
        assert agent.state == "up", agent
        if turn in self.questions:
            agent.questions.append(turn)
            return
        assert agent.turn is None
        assert not agent.runs_on
        agent.turn = turn
        self._note_turn(agent, turn)

    def _note_turn(self, agent: Agent, turn: Turn) -> None:
        key = turn.key or ""
        self.handed.append((turn, key))
        begun = self.begun[key]
        assert not begun or self.asked.index(begun[-1]) < self.asked.index(turn), "out of order"
        begun.append(turn)
        if agent.turns_since_wanted is not None:
            agent.turns_since_wanted += 1
            assert agent.turns_since_wanted <= (not agent.was_busy), "it kept what another wants"
        else:
            agent.was_busy = True

    def _is_with_an_agent(self, turn: Turn) -> bool:
        return any(turn is a.turn or turn in a.questions for a in self.agents.values())

    # What must hold at any time.

    def check(self) -> None:
        state = self.state
        keys = state.keys
        assert set(self.answers.values()) <= {0, 1}
        assert set(self.settled.values()) <= {1}
        self._check_turns()
        assert self.owners_asked <= set(state.elsewhere), "a request to another program was left"
        assert {k for k, s in keys.items() if s.is_awake} == set(self.agents)
        assert state.awake == len(self.agents) <= state.max_awake
        assert {k for k, s in keys.items() if s.phase is KeyPhase.DELETING} == self.deleting
        if state.phase is SessionsPhase.ENDED:
            return  # It decides nothing any more.
        assert state.ending == sum(s.phase is KeyPhase.ENDING for s in keys.values())
        assert set(state.idle) == {k for k, s in keys.items() if s.is_idle}
        assert set(state.elsewhere) == {k for k, s in keys.items() if s.phase is KeyPhase.ELSEWHERE}
        waits = {k for k, s in keys.items() if s.phase is KeyPhase.ASLEEP and s.first is not None}
        assert set(state.sleeping) == waits
        firsts = [keys[key].first or 0 for key in waits]
        first = state.first_waiting()
        assert (first and first.first) == min(firsts, default=None)
        assert state.waiting == sum(len(s.turns) for s in keys.values())
        assert not any(s.is_unused for s in keys.values()), "a key that is not in use was kept"
        self._check_rest()

    def _check_turns(self) -> None:
        """Check that each turn without an answer is at one place."""
        held = {
            turn
            for s in self.state.keys.values()
            for turn in (*s.turns, *s.questions, *s.asked, *([s.running] if s.running else []))
        }
        open_turns = {turn for turn in self.asked if not self.answers[turn]}
        assert set(self.state.turns) <= held
        assert open_turns <= set(self.state.turns)
        for key, agent in self.agents.items():
            s = self.state.keys[key]
            assert s.running is agent.turn or s.running in self._unreported
            assert s.asked == set(agent.questions) | (s.asked & self._unreported)

    def _check_rest(self) -> None:
        """Check that nothing that can go on waits."""
        state = self.state
        if state.awake < state.max_awake:
            assert not state.sleeping, "a session waits although an agent may start"
        if state.sleeping:
            assert not state.idle or state.ending >= len(state.sleeping)
        for s in state.keys.values():
            if s.is_free and not (s.asked and s.leaving_since is not None):
                assert not s.turns, "a turn waits although its agent is free"
