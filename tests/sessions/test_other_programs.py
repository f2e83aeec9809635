"""`OtherPrograms`: requests for conversations, which are files in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agy_actors._sessions import sessions_steps as steps
from agy_actors._sessions.other_programs import OtherPrograms
from agy_actors._sessions.session_keys import conversation_id_of
from agy_actors._sessions.sessions_state import KeyPhase, KeyState
from agy_actors._supervision import pool_steps
from agy_actors._supervision.pool_state import Turn

if TYPE_CHECKING:
    from pathlib import Path

AWAKE = {conversation_id_of(key): key for key in ("ada", "bob")}

STATES = {
    "ada": KeyState("ada", phase=KeyPhase.UP, wanted=True),
    "bob": KeyState("bob", phase=KeyPhase.UP),
}

ADA_MAY_LEAVE = [pool_steps.Finished(Turn(key="ada"), "ada"), pool_steps.Freed("ada", 0.0)]


def test_each_look_tells_all_requests_for_conversations_that_are_open_here(tmp_path: Path) -> None:
    other, own = OtherPrograms(tmp_path), OtherPrograms(tmp_path)
    other.ask_for("ada")
    other.ask_for("not open here")

    assert list(own.look(AWAKE, [])) == [steps.Wanted(frozenset({"ada"}))]
    other.clear("ada")
    assert list(own.look(AWAKE, [])) == [steps.Wanted(frozenset())]


@pytest.mark.parametrize("event", ADA_MAY_LEAVE, ids=lambda event: type(event).__name__)
def test_a_request_that_was_withdrawn_is_noticed_before_the_conversation_is_handed_over(
    tmp_path: Path, event: steps.Event
) -> None:
    other, own = OtherPrograms(tmp_path), OtherPrograms(tmp_path)
    other.ask_for("ada")
    assert list(own.look_before(event, STATES, AWAKE)) == [steps.Wanted(frozenset({"ada"}))]

    other.clear("ada")

    assert list(own.look_before(event, STATES, AWAKE)) == [steps.Wanted(frozenset())]


@pytest.mark.parametrize(
    "event", [pool_steps.Freed("bob", 0.0), steps.AgentReady("ada"), steps.Ticked()], ids=repr
)
def test_the_folder_is_not_read_before_events_that_hand_over_nothing(
    tmp_path: Path, event: steps.Event
) -> None:
    OtherPrograms(tmp_path).ask_for("ada")

    assert list(OtherPrograms(tmp_path).look_before(event, STATES, AWAKE)) == []
