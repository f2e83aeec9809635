"""When the model gets the texts of triggers."""

from __future__ import annotations

import pytest

from agy_actors import Chat
from agy_actors._agents.trigger_turns import Notices
from agy_actors._agents.turn_messages import FollowTurn, TriggerTurn


def test_all_texts_since_the_last_turn_are_sent_in_one_turn() -> None:
    notices, turn = Notices(), TriggerTurn()
    notices.texts.extend(("one", "two"))
    notices.turn_waits = True

    notices.take_up(turn)

    assert turn.texts == ["one", "two"]
    assert not notices.texts
    assert not notices.turn_waits
    notices.texts.append("three")
    notices.take_up(turn)  # Again, after a crash.
    assert turn.texts == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("last", "place"),
    [(Chat("hi"), 0), (TriggerTurn(), 1), (FollowTurn(), 1)],
    ids=["asked", "triggers", "harness"],
)
def test_after_a_turn_of_the_triggers_another_turn_comes_first(last: object, place: int) -> None:
    notices = Notices()
    notices.take_up(last)
    assert notices.place() is None  # Nothing was sent.

    notices.texts.append("news")

    assert notices.place() == place
    notices.turn_waits = True
    assert notices.place() is None
