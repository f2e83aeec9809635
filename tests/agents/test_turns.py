"""Turns: asked, sent, cancelled, queued, with tools, and their ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import types as sdk
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import (
    AgentDeadError,
    Cancel,
    Chat,
    ChatReply,
    DeadlockError,
    Disconnect,
    GetStatistics,
    GetTurnCount,
    IsIdle,
    MailboxFull,
    RetryPolicy,
    Send,
    TurnCancelled,
    TurnInterrupted,
    TurnStalled,
    TurnTimeout,
    WaitForIdle,
)
from agy_actors._agents.agent_actor import AgentActor
from agy_actors._agents.turn import Turn
from agy_actors._sdk.error_text import ModelFailure
from agy_actors._sdk.session import Session
from agy_actors._sdk.stderr_hints import SKEW
from agy_actors.testing import ScriptedModel, call_tool, say, silence
from tests.harnesses import PATIENCE, SOON, kill_harness, until

if TYPE_CHECKING:
    from agy_actors import AgentRef, ReplyFuture, SupervisorRef
    from tests.agents.agents import Configure
    from tests.agents.conftest import HeldCrash


def hold(model: ScriptedModel, agent: AgentRef) -> tuple[ReplyFuture[ChatReply], threading.Event]:
    """Start a turn that lasts until its gate is set."""
    gate = threading.Event()
    seen = len(model.requests)
    model.then(say("held back", gate=gate))
    future = agent.ask(Chat("hold"), block=False)
    model.wait_for_requests(seen + 1)
    return future, gate


# Asking


@pytest.fixture(params=["openai", "gemini"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Both protocols, also in a quick run: these tests are about turns themselves."""
    return str(request.param)


def test_an_ask_returns_the_complete_reply(model: ScriptedModel, either: AgentRef) -> None:
    model.then(say("größe 🌧 \u2028 end", chunks=2))

    reply = either.ask(Chat("hi"))

    assert reply.text == "größe 🌧 \u2028 end"
    assert (reply.attempts, reply.tool_calls, reply.structured_output) == (1, (), None)
    assert reply.usage is not None
    assert reply.stop_reason is sdk.StopReason.UNSPECIFIED


def test_a_future_and_an_await_return_the_same(either: AgentRef) -> None:
    async def main() -> str:
        return (await either.ask(Chat("b"), block=False)).text

    assert either.ask(Chat("a"), block=False).get(timeout=PATIENCE).text == "echo: a"
    assert asyncio.run(main()) == "echo: b"


def test_turns_come_in_the_order_of_the_asks(model: ScriptedModel, either: AgentRef) -> None:
    first, gate = hold(model, either)
    rest = [either.ask(Chat(str(number)), block=False) for number in range(5)]

    gate.set()

    assert first.get(timeout=PATIENCE).text == "held back"
    assert [future.get(timeout=PATIENCE).text for future in rest] == [
        f"echo: {number}" for number in range(5)
    ]
    assert [request.prompt for request in model.requests] == ["hold", "0", "1", "2", "3", "4"]


def test_too_many_turns_wait(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AgentActor, "mailbox_capacity", 2)
    agent = supervisor.create_agent(model.openai_config())
    first, gate = hold(model, agent)
    rest = [agent.ask(Chat(prompt), block=False) for prompt in ("a", "b")]

    with pytest.raises(MailboxFull) as caught:
        agent.tell(Chat("c"))
    with pytest.raises(MailboxFull):
        agent.stream("c")
    assert caught.value.retryable
    assert agent.ask(IsIdle()) is False

    gate.set()
    assert [f.get(timeout=PATIENCE).text for f in (first, *rest)] == [
        "held back",
        "echo: a",
        "echo: b",
    ]


def test_a_turn_takes_too_long(model: ScriptedModel, either: AgentRef) -> None:
    model.then(silence("half "))

    with pytest.raises(TurnTimeout, match=r"within 1\.5 seconds") as caught:
        either.ask(Chat("hi", timeout=1.5))

    assert caught.value.text == "half "
    assert isinstance(caught.value, TimeoutError)
    assert either.ask(Chat("a")).text == "echo: a"


@pytest.mark.parametrize(
    ("variable", "error"),
    [("AGY_ACTORS_CHAT_TIMEOUT", TurnTimeout), ("AGY_ACTORS_STALL_TIMEOUT", TurnStalled)],
)
def test_the_environment_sets_the_default_timeouts(
    model: ScriptedModel,
    agent: AgentRef,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    error: type[Exception],
) -> None:
    monkeypatch.setenv(variable, "0.5")
    model.then(silence())

    with pytest.raises(error, match=r"0\.5 seconds"):
        agent.ask(Chat("hi"))


def test_a_waiting_ask_that_is_abandoned_never_starts(
    model: ScriptedModel, agent: AgentRef
) -> None:
    first, gate = hold(model, agent)
    abandoned = agent.ask(Chat("never"), block=False)
    last = agent.ask(Chat("last"), block=False)

    assert abandoned.cancel()
    gate.set()

    assert first.get(timeout=PATIENCE).text == "held back"
    assert last.get(timeout=PATIENCE).text == "echo: last"
    assert [request.prompt for request in model.requests] == ["hold", "last"]
    assert agent.ask(GetTurnCount()) == 2


def test_turns_abandoned_one_after_another_leave_a_working_agent(
    model: ScriptedModel, either: AgentRef
) -> None:
    for number in range(3):
        model.then(silence("half "))
        future = either.ask(Chat("slow"), block=False)
        model.wait_for_requests(number + 1)
        future.cancel()

    assert either.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"
    assert either.ask(GetStatistics()).restarts == 0


def test_a_timeout_of_the_turn_and_of_its_asker_at_once_leave_a_working_agent(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.when("slow", silence("half "))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            either.ask(Chat("slow", timeout=0.3), timeout=0.301)

    assert either.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


# Sending


def test_a_send_is_answered_when_its_turn_starts(model: ScriptedModel, either: AgentRef) -> None:
    gate = threading.Event()
    model.then(say("sent", gate=gate))

    either.ask(Send("hi"), timeout=SOON)

    assert either.ask(IsIdle()) is False
    gate.set()
    either.ask(WaitForIdle(), timeout=PATIENCE)
    assert either.ask(Chat("a")).text == "echo: a"
    assert model.requests[1].messages[:2] == (("user", "hi"), ("assistant", "sent"))


def test_a_sent_turn_that_crashes_is_carried_out_by_the_next_incarnation(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.then(silence())
    agent.ask(Send("hi"), timeout=SOON)
    model.wait_for_requests(1)

    kill_harness(agent)

    assert [request.prompt for request in model.wait_for_requests(2)] == ["hi", "hi"]
    agent.ask(WaitForIdle(), timeout=PATIENCE)
    assert agent.ask(GetTurnCount()) == 1


def test_a_turn_that_is_told_and_fails_does_not_end_the_agent(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.when("^hi$", silence())

    agent.tell(Chat("hi", timeout=0.3))

    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


# Cancelling


def test_cancel_ends_the_turn_at_once_and_the_next_starts(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(silence("half "))
    future = either.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)
    until(lambda: either.ask(GetStatistics()).state == "busy")

    assert either.ask(Cancel()) is True

    with pytest.raises(TurnCancelled):
        future.get(timeout=1.0)
    assert model.wait_for_disconnect(SOON).prompt == "slow"
    assert either.ask(Chat("a"), timeout=SOON).text == "echo: a"
    assert either.ask(GetStatistics()).restarts == 0


def test_cancel_is_idempotent_and_says_whether_a_turn_ran(
    model: ScriptedModel, agent: AgentRef
) -> None:
    assert agent.ask(Cancel()) is False
    model.then(silence())
    future = agent.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)

    cancels = [agent.ask(Cancel(), block=False) for _ in range(3)]

    assert cancels[0].get(timeout=SOON) is True
    with pytest.raises(TurnCancelled):
        future.get(timeout=SOON)
    agent.ask(WaitForIdle(), timeout=SOON)
    assert agent.ask(Cancel()) is False


def test_cancel_ends_only_the_running_turn(model: ScriptedModel, agent: AgentRef) -> None:
    model.then(silence())
    running = agent.ask(Chat("slow"), block=False)
    waiting = agent.ask(Chat("next"), block=False)
    model.wait_for_requests(1)

    agent.ask(Cancel())

    with pytest.raises(TurnCancelled):
        running.get(timeout=SOON)
    assert waiting.get(timeout=PATIENCE).text == "echo: next"


def test_a_turn_cancelled_during_its_crash_has_no_second_attempt(
    model: ScriptedModel, agent: AgentRef, held: HeldCrash
) -> None:
    model.then(silence())
    future = agent.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)
    held.crash(agent)

    cancelled = agent.ask(Cancel())
    held.let_go()

    assert cancelled is True
    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)
    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"
    assert [request.prompt for request in model.requests] == ["slow", "a"]


def test_a_disconnect_during_a_crash_ends_the_agent_for_good(
    model: ScriptedModel, agent: AgentRef, held: HeldCrash, supervisor: SupervisorRef
) -> None:
    model.then(silence())
    future = agent.ask(Chat("slow"), block=False)
    model.wait_for_requests(1)
    held.crash(agent)

    agent.ask(Disconnect(), timeout=SOON)

    with pytest.raises(AgentDeadError):
        future.get(timeout=SOON)
    until(lambda: supervisor.children() == {})


# Crashes and second attempts


def test_a_policy_of_one_attempt_never_retries(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    agent = supervisor.create_agent(model.openai_config(), retry=RetryPolicy(attempts=1))
    model.then(say("half of it", gate=threading.Event()))
    future = agent.ask(Chat("hi"), block=False)
    model.wait_for_requests(1)

    kill_harness(agent)

    with pytest.raises(TurnInterrupted) as caught:
        future.get(timeout=PATIENCE)
    assert caught.value.retryable
    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


@pytest.mark.parametrize(("attempts", "made"), [(1, 1), (2, 2), (3, 2)])
def test_attempts_are_bounded_by_the_policy_and_by_two_crashes(
    model: ScriptedModel, supervisor: SupervisorRef, attempts: int, made: int
) -> None:
    agent = supervisor.create_agent(model.openai_config(), retry=RetryPolicy(attempts=attempts))
    model.then(silence(), silence(), silence())
    future = agent.ask(Chat("hi"), block=False)

    for attempt in range(made):
        model.wait_for_requests(attempt + 1)
        kill_harness(agent)

    with pytest.raises(TurnInterrupted) as caught:
        future.get(timeout=PATIENCE)
    assert caught.value.retryable == (made == 1)
    assert len(model.requests) == made


def test_a_turn_is_not_retried_after_a_tool_call(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    calls = []

    def pay(amount: int) -> str:
        """Pay."""
        calls.append(amount)
        return "paid"

    agent = supervisor.create_agent(configure(tools=[pay]))
    model.then(call_tool("pay", {"amount": 5}, text="I pay. "), silence("Now "))
    future = agent.ask(Chat("hi"), block=False)
    model.wait_for_requests(2)

    kill_harness(agent)

    with pytest.raises(TurnInterrupted) as caught:
        future.get(timeout=PATIENCE)
    assert caught.value.text.startswith("I pay. ")
    assert [call.name for call in caught.value.tool_calls] == ["pay"]
    assert calls == [5]
    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


def test_the_deadline_of_a_turn_holds_across_its_attempts(
    model: ScriptedModel, agent: AgentRef
) -> None:
    model.when("hi", silence())
    future = agent.ask(Chat("hi", timeout=2.0), block=False)
    model.wait_for_requests(1)

    kill_harness(agent)

    with pytest.raises(TurnTimeout, match="within 2 seconds"):
        future.get(timeout=2.0 + SOON)
    assert agent.ask(Chat("a"), timeout=PATIENCE).text == "echo: a"


# Tools


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_tool_never_returns(
    supervisor: SupervisorRef, model: ScriptedModel, *, asynchronous: bool
) -> None:
    let_go = threading.Event()

    async def wait_for_ever() -> str:
        await asyncio.Event().wait()
        return "never"

    def sleep_for_ever() -> str:
        let_go.wait()
        return "let go"

    def work() -> str:
        return "done"

    tool = wait_for_ever if asynchronous else sleep_for_ever
    model.when("get stuck", call_tool(tool.__name__))
    model.when(
        lambda request: request.prompt == "work" and not request.tool_results[-1:],
        call_tool("work"),
    )
    agent = supervisor.create_agent(model.openai_config(tools=[tool, work]))

    with pytest.raises(TurnTimeout, match=f"within 3 seconds .* waited for {tool.__name__}$"):
        agent.ask(Chat("get stuck", timeout=3.0), timeout=PATIENCE)

    assert agent.ask(Chat("work"), timeout=PATIENCE).text == "echo: work"
    let_go.set()


def test_a_tool_is_called_and_its_output_comes_back(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"sunny in {city}"

    agent = supervisor.create_agent(configure(tools=[weather]))
    model.then(
        call_tool("weather", {"city": "Oslo"}),
        say(lambda request: request.tool_results[-1].output),
    )

    reply = agent.ask(Chat("How is it?"))

    assert "sunny in Oslo" in reply.text
    assert [(call.name, call.args) for call in reply.tool_calls] == [("weather", {"city": "Oslo"})]


def test_a_blocking_tool_delays_no_query_and_is_not_a_stall(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def block() -> str:
        """Block."""
        entered.set()
        leave.wait(PATIENCE)
        return "done"

    agent = supervisor.create_agent(model.openai_config(tools=[block]))
    model.then(call_tool("block"), say("after"))
    future = agent.ask(Chat("hi", stall_timeout=1.0), block=False)
    assert entered.wait(PATIENCE)

    assert [agent.ask(IsIdle(), timeout=SOON) for _ in range(100)] == [False] * 100
    with pytest.raises(TimeoutError):
        future.get(timeout=1.5)  # Longer than the turn may be silent.
    leave.set()

    assert future.get(timeout=PATIENCE).text == "after"


def test_a_tool_asks_its_own_agent_for_a_turn(
    model: ScriptedModel, supervisor: SupervisorRef, configure: Configure
) -> None:
    refused: list[type[BaseException]] = []
    found: list[Any] = []

    def introspect() -> str:
        """Look at yourself."""
        for ask in (
            lambda: agent.ask(Chat("me"), timeout=PATIENCE),
            lambda: agent.stream("me"),
            lambda: agent.ask(WaitForIdle(), timeout=PATIENCE),
        ):
            try:
                ask()
            except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
                refused.append(type(error))
        found.append(agent.ask(IsIdle(), timeout=PATIENCE))
        return "done"

    agent = supervisor.create_agent(configure(tools=[introspect]))
    model.then(call_tool("introspect"), say("after"))

    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "after"
    assert refused == [DeadlockError] * 3
    assert found == [False]


# Ends


def test_disconnect_fails_the_running_and_the_waiting_asks(
    model: ScriptedModel, either: AgentRef
) -> None:
    model.then(silence("half "))
    futures = [either.ask(Chat("hi"), block=False) for _ in range(3)]
    wait = either.ask(WaitForIdle(), block=False)
    model.wait_for_requests(1)

    either.ask(Disconnect(), timeout=SOON)

    for future in futures:
        with pytest.raises(AgentDeadError):
            future.get(timeout=SOON)
    with pytest.raises(AgentDeadError):
        wait.get(timeout=SOON)
    with pytest.raises(AgentDeadError):
        either.ask(Chat("after"))
    assert len(model.requests) == 1
    assert not either.is_alive()


def test_a_stop_waits_for_earlier_asks(model: ScriptedModel, either: AgentRef) -> None:
    first, gate = hold(model, either)
    rest = [either.ask(Chat(prompt), block=False) for prompt in ("a", "b")]

    stopped = either.stop(block=False)
    gate.set()

    assert stopped.get(timeout=PATIENCE) is True
    assert [f.get(timeout=0).text for f in (first, *rest)] == ["held back", "echo: a", "echo: b"]


def test_a_stop_during_a_restart_waits_for_the_waiting_turns(
    agent: AgentRef, held: HeldCrash, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.crash(agent)
    waiting = [agent.ask(Chat(prompt), block=False) for prompt in ("a", "b")]
    stopping = threading.Event()
    drain, open_session = AgentActor._finish_messages, Session.open

    async def note_and_drain(actor: AgentActor) -> None:
        stopping.set()
        await drain(actor)

    async def open_later(session: Session) -> None:
        stopped.append(agent.stop(block=False))
        await asyncio.to_thread(stopping.wait)
        await open_session(session)

    stopped: list[ReplyFuture[bool]] = []
    monkeypatch.setattr(AgentActor, "_finish_messages", note_and_drain)
    monkeypatch.setattr(Session, "open", open_later)
    held.let_go()

    assert [future.get(timeout=PATIENCE).text for future in waiting] == ["echo: a", "echo: b"]
    assert stopped[0].get(timeout=PATIENCE) is True


def test_each_ask_of_many_threads_gets_its_own_answer(either: AgentRef) -> None:
    prompts = [f"prompt {number}" for number in range(20)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda prompt: either.ask(Chat(prompt)).text, prompts))

    assert replies == [f"echo: {prompt}" for prompt in prompts]


# The meaning of steps


def step(**fields: Any) -> sdk.Step:
    settings: dict[str, Any] = {
        "type": sdk.StepType.TEXT_RESPONSE,
        "source": sdk.StepSource.MODEL,
        "target": sdk.StepTarget.USER,
        "status": sdk.StepStatus.ACTIVE,
    }
    return sdk.Step(**{**settings, **fields})


def said(text: str, index: int) -> sdk.Step:
    return step(content_delta=text, step_index=index)


def failed(error: str, index: int = 0) -> sdk.Step:
    return step(
        status=sdk.StepStatus.ERROR, source=sdk.StepSource.SYSTEM, error=error, step_index=index
    )


def observe(*steps: sdk.Step) -> Turn:
    turn = Turn()
    for one in steps:
        list(turn.observe(one))
    return turn


def test_output_after_an_error_step_has_recovered_the_turn() -> None:
    turn = observe(failed("Error 503, Message: busy,"), said("hello", 1))

    assert turn.failure is None
    assert turn.text == "hello"


def test_an_error_step_without_later_output_is_the_turns_error() -> None:
    turn = observe(said("half ", 1), failed("Error 503, Message: busy,", 2))

    assert turn.failure is not None
    assert turn.failure.status == 503
    assert turn.text == "half "


def test_text_that_the_harness_requests_again_counts_once() -> None:
    turn = observe(said("half ", 1), failed("unexpected EOF", 2), said("whole", 3))

    assert turn.text == "whole"


def test_errors_of_the_model_are_counted_until_it_has_output() -> None:
    assert observe(failed("bad"), failed("bad")).model_errors == 2
    assert observe(failed("bad"), failed("bad"), said("good", 1)).model_errors == 0


def test_errors_of_the_service_are_not_the_models() -> None:
    assert observe(failed("Error 503, Message: busy,")).model_errors == 0


def test_empty_steps_are_counted_until_one_has_content() -> None:
    assert observe(step(), step(), step()).empty_steps == 3
    assert observe(step(), step(), said("x", 1)).empty_steps == 0


def test_running_tools_are_waited_for_until_the_last_one_is_done() -> None:
    running = [
        step(
            type=sdk.StepType.TOOL_CALL,
            step_index=index,
            tool_calls=[sdk.ToolCall(name=f"tool-{index}", args={}, id=str(index))],
        )
        for index in (1, 2)
    ]
    done = [
        step(type=sdk.StepType.TOOL_CALL, step_index=index, status=sdk.StepStatus.DONE)
        for index in (1, 2)
    ]

    nameless = [step(type=sdk.StepType.TOOL_CALL, step_index=index) for index in (1, 2)]

    assert observe(*nameless, *running, *nameless).tools_at_work == ("tool-1", "tool-2")
    assert observe(*running, done[0]).tools_at_work == ("tool-2",)
    assert observe(*running, *done).tools_at_work == ()


def test_the_harnesss_standard_error_does_not_affect_a_turn_that_ends() -> None:
    turn = observe(said("all of it", 1))

    turn.stderr_hints.note(ModelFailure(503, None, "late"), alone=True)

    assert turn.failure is None
    assert turn.stderr_hints.certain() is not None


@pytest.mark.parametrize(("later", "refuted"), [(0.0, False), (SKEW, False), (SKEW + 0.1, True)])
def test_only_output_that_came_clearly_later_refutes_a_line_of_the_harness(
    later: float, refuted: bool
) -> None:
    now = 100.0
    turn = Turn(now=lambda: now)
    turn.stderr_hints.note(ModelFailure(None, None, "connection reset"), alone=True)
    now += later

    list(turn.observe(said("half", 1)))

    assert (turn.stderr_hints.certain() is None) is refuted


def test_the_users_text_is_not_output() -> None:
    turn = observe(step(source=sdk.StepSource.USER, content_delta="hi"))

    assert (turn.text, turn.empty_steps) == ("", 0)


def test_a_structured_output_is_taken_from_the_last_step() -> None:
    turn = observe(
        step(type=sdk.StepType.FINISH, structured_output={"a": 1}, status=sdk.StepStatus.DONE)
    )

    assert turn.structured_output == {"a": 1}


@given(st.lists(st.sampled_from(["said", "failed", "empty"]), max_size=30))
def test_a_turn_has_failed_exactly_if_no_output_came_after_its_last_error(
    kinds: list[str],
) -> None:
    make = {
        "said": lambda index: said("x", index),
        "failed": lambda index: failed("Error 500, Message: x,", index),
        "empty": lambda index: step(step_index=index),
    }

    turn = observe(*(make[kind](index) for index, kind in enumerate(kinds)))

    outcomes = [kind for kind in kinds if kind != "empty"]
    assert (turn.failure is not None) == (bool(outcomes) and outcomes[-1] == "failed")


# The two limits


def test_steps_without_content_end_a_turn_at_their_bound(
    model: ScriptedModel, supervisor: SupervisorRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turn, "empty_steps", property(lambda _: 5))
    agent = supervisor.create_agent(model.openai_config(), max_empty_steps=5)

    with pytest.raises(TurnStalled, match="5 steps"):
        agent.ask(Chat("hi"))


def test_a_limit_of_zero_is_off(model: ScriptedModel, supervisor: SupervisorRef) -> None:
    agent = supervisor.create_agent(model.openai_config(), max_model_errors=0, max_empty_steps=0)
    model.then(*[say("")] * 4)

    assert agent.ask(Chat("hi"), timeout=PATIENCE).text == "echo: hi"
