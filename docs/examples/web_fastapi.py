"""A FastAPI application with one conversation per user.

    python -m uvicorn --workers 2 --timeout-worker-healthcheck 60 web_fastapi:app

The user's name is in the URL. A real application takes it from its login.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from web_sessions import TIMEOUT, server_sent, start, status_of

from agy_actors import AgyActorsError, Chat, ChatStream


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the agents with the process, and let the turns finish at its end."""
    supervisor, app.state.users = await asyncio.to_thread(start)
    async with supervisor:
        yield
        await supervisor.shutdown(drain=True, block=False)


app = FastAPI(lifespan=lifespan)


class Prompt(BaseModel):
    """The body of a request."""

    prompt: str


@app.post("/users/{user}/ask")
async def ask(user: str, body: Prompt) -> dict[str, str]:
    """Return the answer."""
    chat = Chat(body.prompt, timeout=TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        reply = await app.state.users[user].ask(chat, block=False)
    return {"text": reply.text}


@app.post("/users/{user}/stream")
async def stream(user: str, body: Prompt) -> StreamingResponse:
    """Stream the answer."""
    pieces = app.state.users[user].stream(Chat(body.prompt, timeout=TIMEOUT))
    return StreamingResponse(server_sent_events(pieces), media_type="text/event-stream")


async def server_sent_events(pieces: ChatStream) -> AsyncIterator[str]:
    """Yield an answer as it comes. If the client disconnects, the server cancels this.

    That cancels the turn.
    """
    async with pieces:
        try:
            async for text in pieces:
                yield server_sent(text)
        except AgyActorsError as error:
            yield server_sent(str(error), "error")
        else:
            yield server_sent("", "end")


@app.exception_handler(AgyActorsError)
@app.exception_handler(TimeoutError)
def report(_: Request, error: Exception) -> JSONResponse:
    """Return what happened, with its status."""
    return JSONResponse({"error": str(error) or "no answer in time"}, status_of(error))
