"""The checks of the chaos soak, each with an outcome that it must not accept."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from google.antigravity.types import StopReason, UsageMetadata

from agy_actors import AgentDeadError, AskTimeout, ChatReply, TurnStalled
from agy_actors.testing import ScriptedModel
from tests.harnesses import until
from tests.soak.chaos._broadcasts import Broadcast, faults_of_broadcast
from tests.soak.chaos._ledger import Ask, judge
from tests.soak.chaos._plan import Fault, Prompt, Style
from tests.soak.chaos._telemetry import Telemetry
from tests.soak.chaos._told_from_tools import lost_turns
from tests.soak.chaos._trial import Ground, Trial
from tests.soak.chaos._watch import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from agy_actors import SupervisorRef

PROMPT = Prompt("q1x1", Fault.NONE)


def reply(text: str, conversation: str = "one") -> ChatReply:
    return ChatReply(
        text=text,
        usage=UsageMetadata(),
        stop_reason=StopReason.UNSPECIFIED,
        conversation_id=conversation,
    )


def broadcast(*replies: ChatReply, members: int | None = 2, resolved: int = 1) -> Broadcast:
    return Broadcast(PROMPT, members, resolved, list(replies))


def test_a_broadcast_with_a_reply_of_every_member_is_accepted() -> None:
    answers = [reply("echo q1x1 after 0:.", name) for name in ("one", "two")]

    assert list(faults_of_broadcast(broadcast(*answers))) == []


@pytest.mark.parametrize("error", [AgentDeadError("it ended"), TurnStalled("silent")])
def test_a_broadcast_with_a_promised_error_is_accepted(error: Exception) -> None:
    assert list(faults_of_broadcast(Broadcast(PROMPT, 2, 1, None, error))) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Broadcast(PROMPT, 2, 0, None, AskTimeout("late")), "was answered 0 times"),
        (Broadcast(PROMPT, 2, 2, None, AgentDeadError("ended")), "was answered 2 times"),
        (Broadcast(PROMPT, 2, 1, None, ValueError("odd")), "do not promise"),
        (broadcast(reply("echo q1x1 after 0:.")), "has 1 replies of 2 members"),
        (
            broadcast(reply("echo q1x1 after 0:."), reply("echo q1x1 after 0:.")),
            "two replies from one conversation",
        ),
        (broadcast(reply("echo q1x2 after 0:."), members=1), "has the reply"),
        (broadcast(reply("half"), members=1), "has the reply"),
        (broadcast(reply("echo q1x1 after 1: q9x9."), members=1), "remembers ['q9x9']"),
    ],
)
def test_a_broadcast_that_is_not_answered_exactly_once_is_refused(
    wrong: Broadcast, said: str
) -> None:
    assert any(said in fault for fault in faults_of_broadcast(wrong))


def test_a_told_turn_without_a_request_or_an_event_counts_as_lost() -> None:
    told = ["a", "b", "c"]

    assert lost_turns(told, {"a", "b", "c"}, 0) == []
    assert lost_turns(told, {"a", "b"}, 1) == []
    assert lost_turns(told, {"a", "b"}, 0) == ["c"]
    assert lost_turns(told, {"a"}, 1) == ["b", "c"]


def test_an_answer_of_a_pool_without_memory_that_names_an_earlier_one_is_refused() -> None:
    ask = Ask(PROMPT, Style.ASK, "queue", 0.0, 1.0, 0.5, reply("echo q1x1 after 1: q2x2."))

    assert judge([ask]).wrong == []
    assert "remembers ['q2x2']" in judge([ask], {"queue"}).wrong[0]


def test_a_turn_that_was_asked_twice_may_find_its_own_answer() -> None:
    ask = Ask(PROMPT, Style.ASK, "queue", 0.0, 1.0, 0.5, reply("echo q1x1 after 1: q1x1."))

    assert judge([ask], {"queue"}).wrong == []


class OneRound(Trial):
    """A trial that ends the soak after its first round."""

    fault = "nothing"

    def run_round(self) -> None:
        self.outcomes["answer"] += 2
        self._over.set()


@pytest.fixture
def trial(supervisor: SupervisorRef, tmp_path: Path) -> OneRound:
    ground = Ground(ScriptedModel(), supervisor, tmp_path)
    return OneRound(1, ground, random.Random("x"), threading.Event(), 0.01)


def test_a_trial_reports_how_often_its_fault_was_caused_and_its_results(
    trial: OneRound,
) -> None:
    trial.run()

    assert trial.summary() == "nothing: 1 times: 2 answer"
    assert trial.failures() == []


def test_a_trial_that_was_never_done_is_a_failure_unless_it_was_skipped(trial: OneRound) -> None:
    assert trial.failures() == ["nothing: never caused"]

    trial.skipped = "mounting is not permitted"

    assert trial.failures() == []
    assert trial.summary() == "nothing: skipped, mounting is not permitted"
    assert trial.outcomes == Counter()


def ask_of(error: BaseException | None) -> Ask:
    return Ask(PROMPT, Style.ASK, "agent", 0.0, 1.0, error=error)


def test_counters_that_equal_the_ledger_are_accepted_and_others_are_not(
    supervisor: SupervisorRef, model: ScriptedModel
) -> None:
    watch = Watch()
    supervisor.subscribe(watch.note)
    who = supervisor.name
    with Telemetry(supervisor) as telemetry:
        agent = supervisor.create_agent(model.openai_config())
        agent.ask("one")
        agent.tell(object())
        until(lambda: watch.counts["DeadLetter"] == watch.counts["TurnEnded"] == 1)

        assert list(telemetry.differences([ask_of(None)], watch)) == []
        [lost] = telemetry.differences([], watch)
        [crossed] = telemetry.differences([ask_of(AgentDeadError("ended"))], watch)
        watch.counts["DeadLetter"] = watch.restarts = 2
        watch.turns["ok"] = 0
        found = list(telemetry.differences(None, watch))

    assert lost == f"agy_actors.asks of {who} is 1 ok, and the ledger has 0"
    assert crossed == f"agy_actors.asks of {who} is 1 ok, and the ledger has 1 AgentDeadError"
    assert found == [
        f"agy_actors.turns of {who} is 1 ok, and the ledger has 0",
        f"agy_actors.restarts of {who} is 0, and the ledger has 2 agent",
        f"agy_actors.dead_letters of {who} is 1, and the ledger has 2",
    ]
