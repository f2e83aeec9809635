"""An async tool ends with its turn, for every kind of end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import BuiltinTools, CapabilitiesConfig
from google.antigravity.hooks import hooks
from google.antigravity.types import (
    CustomSystemInstructions,
    HookResult,
    SubagentCapabilities,
    SubagentConfig,
)
from loguru import logger

from agy_actors import (
    AgentDeadError,
    AskTimeout,
    Cancel,
    Chat,
    Delete,
    Disconnect,
    HookError,
    RetryPolicy,
    TurnCancelled,
    TurnInterrupted,
    TurnTimeout,
)
from agy_actors.testing import ToolCall, call_tool, call_tools, say
from tests.harnesses import PATIENCE, SOON, kill_harness, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors import AgentRef, SupervisorRef
    from agy_actors.testing import ScriptedModel


class Job:
    """An async tool for tests: it runs until it is cancelled."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.ended = threading.Event()
        self.cancelled = False

    async def work(self) -> str:
        """Work."""
        self.called.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled = True
            await asyncio.sleep(0.05)  # It cleans up.
            raise
        finally:
            self.ended.set()
        return "done"


@pytest.fixture
def job() -> Job:
    return Job()


@pytest.fixture
def agent(model: ScriptedModel, supervisor: SupervisorRef, job: Job) -> AgentRef:
    """An agent whose model calls the tool at the prompt "go"."""
    model.when("go", call_tool("work"), times=1)
    return supervisor.create_agent(
        model.openai_config(tools=[job.work]), name="worker", retry=RetryPolicy(attempts=1)
    )


def time_out(agent: AgentRef, _: Job) -> None:
    with pytest.raises(TurnTimeout, match="work"):
        agent.ask(Chat("go", timeout=1.0), timeout=PATIENCE)


def cancel_by_message(agent: AgentRef, job: Job) -> None:
    future = agent.ask(Chat("go"), block=False)
    assert job.called.wait(PATIENCE)
    assert agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)


def stop_waiting(agent: AgentRef, job: Job) -> None:
    with pytest.raises(AskTimeout):
        agent.ask(Chat("go"), timeout=1.0)
    assert job.called.is_set()


def cancel_the_future(agent: AgentRef, job: Job) -> None:
    future = agent.ask(Chat("go"), block=False)
    assert job.called.wait(PATIENCE)
    future.cancel()


def close_the_stream(agent: AgentRef, job: Job) -> None:
    with agent.stream("go"):
        assert job.called.wait(PATIENCE)


def cancel_the_stream(agent: AgentRef, job: Job) -> None:
    stream = agent.stream("go")
    assert job.called.wait(PATIENCE)
    stream.cancel()


ENDS = [
    time_out,
    cancel_by_message,
    stop_waiting,
    cancel_the_future,
    close_the_stream,
    cancel_the_stream,
]


@pytest.mark.parametrize("end", ENDS)
def test_a_turn_ends_while_an_async_tool_runs(
    agent: AgentRef, job: Job, end: Callable[[AgentRef, Job], None]
) -> None:
    end(agent, job)

    assert job.ended.wait(SOON)
    assert job.cancelled
    assert agent.ask(Chat("hello", timeout=PATIENCE)).text == "echo: hello"


def test_a_cancelled_tool_has_ended_when_its_turn_is_answered(agent: AgentRef, job: Job) -> None:
    time_out(agent, job)

    assert job.ended.is_set()


def crash(agent: AgentRef, _: SupervisorRef) -> None:
    kill_harness(agent)


def disconnect(agent: AgentRef, _: SupervisorRef) -> None:
    agent.ask(Disconnect(), timeout=PATIENCE)


def delete(agent: AgentRef, _: SupervisorRef) -> None:
    agent.ask(Delete(), timeout=PATIENCE)


def shut_down(agent: AgentRef, supervisor: SupervisorRef) -> None:
    supervisor.shutdown_agent(agent, timeout=PATIENCE)


def stop_the_supervisor(_: AgentRef, supervisor: SupervisorRef) -> None:
    supervisor.stop(timeout=PATIENCE)


@pytest.mark.parametrize("end", [crash, disconnect, delete, shut_down, stop_the_supervisor])
def test_an_async_tool_is_cancelled_with_its_agent(
    agent: AgentRef,
    supervisor: SupervisorRef,
    job: Job,
    end: Callable[[AgentRef, SupervisorRef], None],
) -> None:
    future = agent.ask(Chat("go"), block=False)
    assert job.called.wait(PATIENCE)

    end(agent, supervisor)

    with pytest.raises((AgentDeadError, TurnInterrupted)):
        future.get(timeout=PATIENCE)
    assert job.ended.wait(SOON)
    assert job.cancelled


def test_an_async_tool_is_cancelled_before_the_hooks_at_the_sessions_end(
    model: ScriptedModel, supervisor: SupervisorRef, job: Job
) -> None:
    order: list[str] = []

    @hooks.on_session_end  # type: ignore[untyped-decorator] # the SDK's
    async def last() -> None:
        order.append("cancelled" if job.cancelled else "at work")

    model.when("go", call_tool("work"), times=1)
    agent = supervisor.create_agent(model.openai_config(tools=[job.work], hooks=[last]))
    future = agent.ask(Chat("go"), block=False)
    assert job.called.wait(PATIENCE)

    supervisor.shutdown_agent(agent, timeout=PATIENCE)

    with pytest.raises(AgentDeadError):
        future.get(timeout=PATIENCE)
    assert job.ended.wait(SOON)
    assert order == ["cancelled"]


def test_an_async_tool_is_cancelled_when_a_hook_denies_another_call_and_ends_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, job: Job
) -> None:
    @hooks.pre_tool_call_decide  # type: ignore[untyped-decorator] # the SDK's
    async def decide(call: Any) -> Any:
        if call.name == "forbidden":
            await asyncio.to_thread(job.called.wait, PATIENCE)
            return "no HookResult"
        return HookResult(allow=True)

    def forbidden() -> None:
        """Do what is not allowed."""

    both = call_tools([ToolCall("work"), ToolCall("forbidden")])
    model.when("go", both, times=1)
    agent = supervisor.create_agent(
        model.openai_config(tools=[job.work, forbidden], hooks=[decide])
    )

    with pytest.raises(HookError):
        agent.ask(Chat("go", timeout=PATIENCE))

    assert job.ended.wait(SOON)
    assert job.cancelled
    assert agent.ask(Chat("hello", timeout=PATIENCE)).text == "echo: hello"


class Worker:
    """A tool that is an object."""

    def __init__(self, job: Job) -> None:
        self._job = job

    async def __call__(self) -> str:
        """Work."""
        return await self._job.work()


def _as_object(job: Job) -> Callable[[], Any]:
    return Worker(job)


def _as_function_that_returns_a_coroutine(job: Job) -> Callable[[], Any]:
    def work() -> Any:
        """Work."""
        return job.work()

    return work


@pytest.mark.parametrize("kind", [_as_object, _as_function_that_returns_a_coroutine])
def test_a_tool_of_any_async_kind_is_cancelled_with_its_turn(
    model: ScriptedModel,
    supervisor: SupervisorRef,
    job: Job,
    kind: Callable[[Job], Callable[[], Any]],
) -> None:
    tool = kind(job)
    name = getattr(tool, "__name__", "Worker")
    model.when("go", call_tool(name), times=1)
    agent = supervisor.create_agent(model.openai_config(tools=[tool]))

    cancel_by_message(agent, job)

    assert job.ended.wait(SOON)
    assert job.cancelled


def test_the_tool_of_a_subagent_is_cancelled_with_the_turn(
    model: ScriptedModel, supervisor: SupervisorRef, job: Job
) -> None:
    helper = SubagentConfig(
        name="helper",
        description="Helps.",
        system_instructions=CustomSystemInstructions(text="You help."),
        capabilities=SubagentCapabilities(enabled_tools=[]),
        tools=[job.work],
    )
    invoke = {"Subagents": [{"TypeName": "helper", "Role": "Helper", "Prompt": "work"}]}
    model.when(lambda request: "You help." in request.system, call_tool("work"))
    model.when("go", call_tool("invoke_subagent", invoke), times=1)
    agent = supervisor.create_agent(
        model.openai_config(
            subagents=[helper],
            capabilities=CapabilitiesConfig(enabled_tools=[BuiltinTools.INVOKE_SUBAGENT]),
        )
    )

    cancel_by_message(agent, job)

    assert job.ended.wait(SOON)
    assert job.cancelled


@pytest.fixture
def warnings() -> Any:
    said: list[str] = []
    logger.enable("agy_actors")
    handler = logger.add(lambda message: said.append(str(message)), level="WARNING")
    yield said
    logger.remove(handler)
    logger.disable("agy_actors")


def test_a_tool_that_ignores_its_cancellation_is_named_and_delays_nothing(
    model: ScriptedModel, supervisor: SupervisorRef, warnings: list[str]
) -> None:
    called, over = threading.Event(), threading.Event()

    async def stubborn() -> str:
        """Work."""
        called.set()
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return "done at last"

    model.when("go", call_tool("stubborn"), times=1)
    model.when("again", say("here"))
    agent = supervisor.create_agent(model.openai_config(tools=[stubborn]))
    future = agent.ask(Chat("go"), block=False)
    assert called.wait(PATIENCE)
    agent.ask(Cancel())

    with pytest.raises(TurnCancelled):
        future.get(timeout=PATIENCE)
    assert agent.ask(Chat("again", timeout=PATIENCE)).text == "here"
    until(lambda: any("stubborn" in line for line in warnings))
    over.set()


def test_a_tool_on_a_thread_continues_when_its_turn_is_cancelled(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    called, release, ended = threading.Event(), threading.Event(), threading.Event()

    def block() -> str:
        """Wait."""
        called.set()
        release.wait(PATIENCE)
        ended.set()
        return "done"

    model.when("go", call_tool("block"), times=1)
    agent = supervisor.create_agent(model.openai_config(tools=[block]))
    future = agent.ask(Chat("go"), block=False)
    assert called.wait(PATIENCE)
    agent.ask(Cancel())
    with pytest.raises(TurnCancelled):
        future.get(timeout=SOON)
    assert not ended.is_set()

    assert agent.ask(Chat("hello", timeout=PATIENCE)).text == "echo: hello"
    release.set()
    assert ended.wait(PATIENCE)
    told = [result.output for request in model.requests for result in request.tool_results]
    assert "done" not in told
