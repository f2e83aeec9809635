"""Objects that only work in one process cannot be pickled, but can be copied."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from agy_actors import (
    AgyActorsError,
    AsyncioActor,
    Chat,
    HumanReply,
    NotPicklableError,
    QuestionAsked,
    SupervisorRef,
)
from agy_actors.testing.scripted_model.configs import openai_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors.testing import ScriptedModel


class Plain(AsyncioActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


MAKERS: dict[str, tuple[Callable[[SupervisorRef, Any], Any], str]] = {
    "AgentRef": (lambda s, c: s.create_agent(c), "send the agent's name"),
    "PoolRef": (lambda s, c: s.create_pool(c, 1), "send its name"),
    "SupervisorRef": (lambda s, _: s, "start a supervisor in the other process"),
    "a supervisor below": (lambda s, _: s.create_supervisor(), "send its name"),
    "AsyncioActorRef": (lambda *_: Plain.start(), "look the actor up in that process"),
    "a proxy": (lambda *_: Plain.start().proxy(), "look the actor up in that process"),
    "ReplyFuture": (lambda s, c: s.create_agent(c).ask(Chat("hi"), block=False), "send that"),
    "a reply to a stop": (lambda s, c: s.create_agent(c).stop(block=False), "send that"),
    "ChatStream": (lambda s, c: s.create_agent(c).stream("hi"), "`result()`"),
    "StreamCursor": (lambda s, c: iter(s.create_agent(c).stream("hi")), "send its events"),
    "Subscription": (lambda s, _: s.subscribe(lambda _: None), "cancel it where it is"),
    "what holds one": (lambda s, c: {"agents": [s.create_agent(c)]}, "send the agent's name"),
    "a method of one": (lambda s, c: s.create_agent(c).ask, "send the agent's name"),
}


@pytest.mark.parametrize("what", MAKERS)
@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
def test_pickling_raises_an_error_that_names_the_alternative(
    what: str, protocol: int, model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    make, instead = MAKERS[what]
    thing = make(supervisor, openai_config(model.base_url, {}))

    with pytest.raises(NotPicklableError, match="cannot be pickled") as caught:
        pickle.dumps(thing, protocol)

    _stop_plain_actors()
    assert instead in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, AgyActorsError)
    assert not caught.value.retryable


@pytest.mark.parametrize("what", [name for name in MAKERS if not name.startswith(("what", "a "))])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_same_object(
    what: str, copied: Callable[[Any], Any], model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    thing = MAKERS[what][0](supervisor, openai_config(model.base_url, {}))

    twin = copied(thing)

    _stop_plain_actors()
    assert twin is thing


def test_a_configuration_with_a_ref_can_be_copied(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(openai_config(model.base_url, {}))

    class Office:
        """A tool's object that has an agent."""

        def __init__(self) -> None:
            self.agent = agent

        def ask_colleague(self, question: str) -> str:
            """Ask a colleague."""
            return self.agent.ask(Chat(question)).text

    config = openai_config(
        model.base_url, {"tools": [Office().ask_colleague, agent.as_tool("friend", "A friend.")]}
    )

    twin = copy.deepcopy(config)

    tool: Any = twin.tools[0]
    assert tool.__self__.agent is agent
    assert supervisor.create_agent(twin).ask(Chat("hi")).text == "echo: hi"


def test_a_pipe_to_another_process_refuses_a_ref(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(openai_config(model.base_url, {}))
    here, there = Pipe()

    with here, there, pytest.raises(NotPicklableError, match=r"supervisor\.children\(\)\[name\]"):
        here.send([agent])

    assert agent.ask(Chat("hi")).text == "echo: hi"


def test_an_event_with_a_reply_can_be_turned_into_a_dictionary() -> None:
    event = QuestionAsked(supervisor="root", agent="poet", questions=(), reply=HumanReply())

    assert dataclasses.asdict(event)["reply"] is event.reply
    event.reply.cancel()


def _stop_plain_actors() -> None:
    for ref in pykka.ActorRegistry.get_by_class(Plain):
        ref.stop()
