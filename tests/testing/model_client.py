"""Clients for the tests of the scripted model: plain HTTP, and real agents."""

from __future__ import annotations

import http.client
import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from google.antigravity import Agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from google.antigravity.connections.connection import AgentConfig
    from google.antigravity.types import Step

    from agy_actors.testing import ScriptedModel

ProtocolName = Literal["openai", "gemini"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def events(self) -> list[Any]:
        lines = [line for line in self.data.decode().split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        return [json.loads(data) for line in lines if (data := line[6:]) != "[DONE]"]


@dataclass(frozen=True)
class Client:
    """A client of one of the two protocols, without the SDK."""

    protocol: ProtocolName
    model: ScriptedModel

    def body(self, prompt: str, *, stream: bool = True) -> dict[str, Any]:
        if self.protocol == "openai":
            return {
                "model": "m",
                "stream": stream,
                "messages": [{"role": "user", "content": prompt}],
            }
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}

    def path(self, *, stream: bool = True) -> str:
        if self.protocol == "openai":
            return "/v1/chat/completions"
        return f"/v1beta/models/m:{'streamG' if stream else 'g'}enerateContent?alt=sse"

    @contextmanager
    def open(
        self, prompt: str = "hi", *, stream: bool = True
    ) -> Iterator[http.client.HTTPResponse]:
        """Ask, and read the answer as it comes."""
        connection = self._connection()
        try:
            body = json.dumps(self.body(prompt, stream=stream))
            connection.request("POST", self.path(stream=stream), body)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, prompt: str = "hi", *, stream: bool = True) -> Answer:
        """Ask, and wait for the whole answer."""
        body = json.dumps(self.body(prompt, stream=stream)).encode()
        return self.send("POST", self.path(stream=stream), body)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = self._connection()
        try:
            connection.request(method, path, body, headers or {})
            with connection.getresponse() as response:
                got = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, got, response.read())
        finally:
            connection.close()

    def pieces(self, answer: Answer) -> list[str]:
        """Return the pieces of text in a streamed answer."""
        found = []
        for event in answer.events:
            if self.protocol == "openai":
                found += [c["delta"].get("content") for c in event["choices"]]
            else:
                content = event["candidates"][0].get("content", {"parts": []})
                found += [p.get("text") for p in content["parts"] if not p.get("thought")]
        return [piece for piece in found if piece is not None]

    def said(self, prompt: str = "hi") -> str:
        """Ask, and return the text that was streamed."""
        return "".join(self.pieces(self.ask(prompt)))

    def read_piece(self, response: http.client.HTTPResponse) -> str:
        """Read the next event of a stream that has text; return the text."""
        event = response.readline() + response.readline()
        [piece] = self.pieces(Answer(200, {}, event))
        return piece

    def _connection(self) -> http.client.HTTPConnection:
        where = urlsplit(self.model.base_url)
        assert where.hostname is not None
        return http.client.HTTPConnection(where.hostname, where.port, timeout=10)


@dataclass(frozen=True)
class Agents:
    """Makes real agents, each with its real harness process, for one protocol."""

    protocol: ProtocolName
    model: ScriptedModel
    save_dir: Path

    def config(self, **overrides: Any) -> AgentConfig:
        settings = {"save_dir": str(self.save_dir), **overrides}
        if self.protocol == "openai":
            return self.model.openai_config(**settings)
        return self.model.gemini_config(**settings)

    @asynccontextmanager
    async def open(self, **overrides: Any) -> AsyncIterator[Agent]:
        agent = Agent(self.config(**overrides))
        async with agent:
            # The SDK leaves the pipes of its process to the garbage collector, which
            # complains of them in whatever test it happens to run.
            process: Any = vars(agent.conversation.connection)["_process"]
            try:
                yield agent
            finally:
                pipes = (process.stdout, process.stderr)
        for pipe in pipes:
            pipe.close()


async def steps(agent: Agent, prompt: str) -> list[Step]:
    """Send a prompt, and return the steps of the turn, including failed ones."""
    await agent.conversation.send(prompt)
    return [step async for step in agent.conversation.receive_steps()]


async def text(agent: Agent, prompt: str) -> str:
    """Send a prompt, and return the answer."""
    return str(await (await agent.chat(prompt)).text())
