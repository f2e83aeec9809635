"""An asyncio web service: waiting for agents never blocks its event loop."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from google.antigravity import LocalOpenAIAgentConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from agy_actors import Chat, CreateAgent, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Create the agents when the service starts, and end them with it."""
    async with Supervisor.start() as supervisor:
        app.state.agent = await supervisor.ask(CreateAgent(config, "clerk"), block=False)
        yield


async def ask(request: Request) -> PlainTextResponse:
    """Return the agent's reply. A cancelled request cancels the turn."""
    prompt = (await request.body()).decode()
    reply = await request.app.state.agent.ask(Chat(prompt), block=False)
    return PlainTextResponse(reply.text)


async def stream(request: Request) -> StreamingResponse:
    """Stream the agent's reply."""
    prompt = (await request.body()).decode()
    return StreamingResponse(aiter(request.app.state.agent.stream(Chat(prompt))))


routes = [Route("/ask", ask, methods=["POST"]), Route("/stream", stream, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
