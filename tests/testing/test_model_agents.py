"""Real agents of the SDK, each with a real harness process, on the scripted model."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from google.antigravity import ModelAPIRetryConfig, RetryConfig
from google.antigravity import types as sdk

from agy_actors.testing import (
    Reply,
    ScriptedModel,
    Usage,
    call_tool,
    drop,
    http_error,
    malformed,
    quota_error,
    say,
    silence,
)
from tests.testing.model_client import Agents, steps, text

if TYPE_CHECKING:
    from pathlib import Path

    from google.antigravity import Agent
    from google.antigravity.types import Step

RETRY_AT_ONCE = RetryConfig(
    api_retry=ModelAPIRetryConfig(
        max_retries=2, initial_sleep_duration_ms=1, exponential_multiplier=1.0, jitter_range=0.0
    )
)
VERBATIM = "  größe 🌧 日本\n\n\ttab \u2028 end  "


@pytest.fixture
def on_openai(model: ScriptedModel, tmp_path: Path) -> Agents:
    return Agents("openai", model, tmp_path)


@pytest.fixture
def on_gemini(model: ScriptedModel, tmp_path: Path) -> Agents:
    return Agents("gemini", model, tmp_path)


def failed(found: list[Step]) -> list[Step]:
    return [step for step in found if step.status == sdk.StepStatus.ERROR]


def http_code(step: Step) -> int:
    return int(vars(step)["http_code"])  # The steps of local agents have it, the type has not.


@pytest.mark.parametrize("chunks", [None, 2])
def test_text_comes_through_verbatim(agents: Agents, chunks: int | None) -> None:
    agents.model.then(say(VERBATIM, chunks=chunks))

    async def main() -> None:
        async with agents.open() as agent:
            response = await agent.chat("hi")
            pieces = [piece async for piece in response]
            assert "".join(pieces) == VERBATIM
            assert agent.conversation.last_response == VERBATIM

    asyncio.run(main())


def test_a_prompt_is_echoed_without_the_harnesss_additions(agents: Agents) -> None:
    async def main() -> None:
        async with agents.open() as agent:
            assert await text(agent, "Wie spät ist es? 🕐") == "echo: Wie spät ist es? 🕐"

    asyncio.run(main())


def test_each_turn_carries_the_history_once(agents: Agents) -> None:
    async def main() -> None:
        async with agents.open() as agent:
            for prompt in ("one", "two", "three"):
                await text(agent, prompt)

    asyncio.run(main())

    first, second, third = agents.model.wait_for_requests(3)
    assert first.messages == (("user", "one"),)
    assert second.messages == (*first.messages, ("assistant", "echo: one"), ("user", "two"))
    assert third.messages == (*second.messages, ("assistant", "echo: two"), ("user", "three"))
    assert {request.protocol for request in (first, second, third)} == {agents.protocol}
    assert first.system == "You are a test agent."
    assert first.tools == ()


def test_settings_can_be_overridden(agents: Agents) -> None:
    instructions = sdk.CustomSystemInstructions(text="Be someone else.")

    async def main() -> None:
        async with agents.open(model="another", system_instructions=instructions) as agent:
            await text(agent, "hi")

    asyncio.run(main())

    [request] = agents.model.requests
    assert (request.model, request.system) == ("another", "Be someone else.")


def test_a_gemini_model_without_an_address_is_this_one(on_gemini: Agents) -> None:
    async def main() -> None:
        async with on_gemini.open(model=sdk.ModelTarget(name="another")) as agent:
            await text(agent, "hi")

    asyncio.run(main())

    [request] = on_gemini.model.requests
    assert request.model == "another"


def test_a_gemini_agent_sends_its_key_which_no_repr_shows(on_gemini: Agents) -> None:
    async def main() -> None:
        async with on_gemini.open(api_key="my-key") as agent:
            await text(agent, "hi")

    asyncio.run(main())

    [request] = on_gemini.model.requests
    assert request.headers["x-goog-api-key"] == "my-key"
    assert "my-key" not in repr((request, request.headers))


def test_usage_is_surfaced(agents: Agents) -> None:
    agents.model.then(say("hello", usage=Usage(prompt=11, completion=7, thoughts=5, cached=3)))

    async def main() -> None:
        async with agents.open() as agent:
            await text(agent, "hi")
            usage = agent.conversation.total_usage
            assert usage.prompt_token_count == 11
            assert usage.candidates_token_count == 7
            assert usage.thoughts_token_count == 5
            assert usage.cached_content_token_count == 3
            assert usage.total_token_count == 23

    asyncio.run(main())


def test_thoughts_are_surfaced_on_gemini(on_gemini: Agents) -> None:
    on_gemini.model.then(say("forty-two", thought="six times seven"))

    async def main() -> None:
        async with on_gemini.open() as agent:
            found = await steps(agent, "hi")
            assert "".join(step.thinking_delta for step in found) == "six times seven"
            assert agent.conversation.last_response == "forty-two"

    asyncio.run(main())


def test_a_tool_is_called_and_its_output_comes_back(agents: Agents) -> None:
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        return f"sunny in {city}"

    agents.model.then(
        call_tool("weather", {"city": "Oslo"}, text="Let me see. "),
        say(lambda request: request.tool_results[-1].output),
    )

    async def main() -> str:
        async with agents.open(tools=[weather]) as agent:
            return await text(agent, "How is the weather?")

    answer = asyncio.run(main())

    first, second = agents.model.requests
    assert first.tools == ("weather",)
    assert second.prompt == "How is the weather?"
    [result] = second.tool_results
    assert result.name == "weather"
    assert "sunny in Oslo" in result.output
    assert answer.endswith(result.output)
    assert ("assistant", "Let me see. ") in second.messages


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_http_error_is_an_error_on_openai(on_openai: Agents, status: int) -> None:
    on_openai.model.then(http_error(status, "MARK"))

    async def main() -> None:
        async with on_openai.open() as agent:
            expected = f"status {status}: .*MARK"
            with pytest.raises(sdk.AntigravityExecutionError, match=expected):
                await steps(agent, "hi")

    asyncio.run(main())

    assert len(on_openai.model.requests) == 1  # The harness does not try again.


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, sdk.AntigravityConnectionError),
        (401, sdk.AntigravityConnectionError),
        (403, sdk.AntigravityConnectionError),
        (500, sdk.AntigravityExecutionError),
    ],
)
def test_an_http_error_is_a_step_with_its_code_on_gemini(
    on_gemini: Agents, status: int, error: type[Exception]
) -> None:
    on_gemini.model.then(http_error(status, "MARK"))

    async def main() -> None:
        async with on_gemini.open() as agent:
            with pytest.raises(error, match=f"Error {status}, Message: MARK"):
                await steps(agent, "hi")
            [step] = failed(agent.conversation.history)
            assert http_code(step) == status
            assert step.source == sdk.StepSource.SYSTEM

    asyncio.run(main())

    assert len(on_gemini.model.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_the_harness_retries_some_errors_on_gemini_and_reports_each(
    on_gemini: Agents, status: int
) -> None:
    on_gemini.model.then(*[http_error(status, "MARK")] * 2)

    async def main() -> None:
        async with on_gemini.open(retry_config=RETRY_AT_ONCE) as agent:
            found = await steps(agent, "hi")
            assert [http_code(step) for step in failed(found)] == [status] * 2
            assert all("MARK" in step.error for step in failed(found))
            assert agent.conversation.last_response == "echo: hi"

    asyncio.run(main())

    assert [request.prompt for request in on_gemini.model.requests] == ["hi"] * 3


def test_a_quota_error_tells_the_harness_when_to_retry_on_gemini(on_gemini: Agents) -> None:
    on_gemini.model.then(quota_error(0.5))

    async def main() -> None:
        async with on_gemini.open(retry_config=RETRY_AT_ONCE) as agent:
            [step] = failed(await steps(agent, "hi"))
            assert http_code(step) == 429
            assert "retryDelay:0.5s" in step.error

    asyncio.run(main())

    first, second = on_gemini.model.requests
    assert second.received_at - first.received_at >= 0.5


def test_an_empty_answer_is_asked_again_in_the_same_turn(agents: Agents) -> None:
    agents.model.then(say(""))

    async def main() -> None:
        async with agents.open() as agent:
            assert len(failed(await steps(agent, "hi"))) == 1
            assert agent.conversation.last_response == "echo: hi"

    asyncio.run(main())

    first, second = agents.model.requests
    assert second.prompt == first.prompt == "hi"


@pytest.mark.parametrize("reply", [drop("half "), drop(), malformed("half "), malformed()])
def test_a_broken_stream_is_an_error_on_openai(on_openai: Agents, reply: Reply) -> None:
    on_openai.model.then(reply)

    async def main() -> None:
        async with on_openai.open() as agent:
            with pytest.raises(sdk.AntigravityExecutionError):
                await steps(agent, "hi")
            assert len(failed(agent.conversation.history)) == 1

    asyncio.run(main())


def test_a_dropped_stream_is_retried_on_gemini(on_gemini: Agents) -> None:
    on_gemini.model.then(drop("half "))

    async def main() -> None:
        async with on_gemini.open(retry_config=RETRY_AT_ONCE) as agent:
            [step] = failed(await steps(agent, "hi"))
            assert "connection reset by peer" in step.error
            assert agent.conversation.last_response == "echo: hi"

    asyncio.run(main())


def test_a_malformed_stream_is_an_error_on_gemini(on_gemini: Agents) -> None:
    on_gemini.model.then(malformed("half "))

    async def main() -> None:
        async with on_gemini.open() as agent:
            with pytest.raises(sdk.AntigravityExecutionError, match="error unmarshalling"):
                await steps(agent, "hi")

    asyncio.run(main())


def test_a_cancelled_turn_leaves_the_silent_model(agents: Agents) -> None:
    agents.model.then(silence("half "))

    async def cancel_amid(agent: Agent) -> None:
        await agent.conversation.send("hi")
        async for step in agent.conversation.receive_steps():
            if step.content_delta == "half ":
                await agent.conversation.cancel()

    async def main() -> None:
        async with agents.open() as agent:
            with pytest.raises(sdk.AntigravityCancelledError):
                await cancel_amid(agent)
            gone = await asyncio.to_thread(agents.model.wait_for_disconnect)
            assert gone.prompt == "hi"
            assert await text(agent, "again") == "echo: again"

    asyncio.run(main())


def test_a_closed_agent_leaves_the_silent_model(agents: Agents) -> None:
    agents.model.then(silence())

    async def main() -> None:
        async with agents.open() as agent:
            await agent.conversation.send("hi")
            await asyncio.to_thread(agents.model.wait_for_requests, 1)

    asyncio.run(main())

    assert agents.model.wait_for_disconnect().prompt == "hi"


def test_a_gate_holds_a_real_turn(agents: Agents) -> None:
    gate = threading.Event()
    agents.model.then(say("one two", gate=gate))

    async def main() -> None:
        async with agents.open() as agent:
            pieces = []
            async for piece in await agent.chat("hi"):
                pieces.append(piece)
                if len(pieces) == 1:
                    assert piece == "one "
                    gate.set()
            assert "".join(pieces) == "one two"

    asyncio.run(main())
