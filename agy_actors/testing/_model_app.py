"""The scripted model's routes, for both protocols."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from agy_actors.testing._model_gemini import GeminiWriter, read_gemini
from agy_actors.testing._model_openai import OpenAIWriter, read_openai
from agy_actors.testing._model_plan import plan
from agy_actors.testing._model_playback import Playback
from agy_actors.testing._model_reply import http_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from agy_actors.testing._model_plan import Writer
    from agy_actors.testing._model_reply import Reply
    from agy_actors.testing._model_request import ModelRequest

    Endpoint = Callable[[Request], Awaitable[ASGIApp]]

__all__ = ["Director", "make_app"]


class Director(Protocol):
    """Decides what is answered, and is told what happened. All on the server's thread."""

    def choose(self, request: ModelRequest) -> Reply:
        """Record a request and choose its reply."""
        ...

    def client_left(self, request: ModelRequest) -> None:
        """Note that a client went away before its answer ended."""
        ...

    def failed(self, error: Exception) -> None:
        """Note what a function in the script raised."""
        ...


def make_app(director: Director) -> ASGIApp:
    """Make the application that answers as the director says."""

    async def openai(request: Request) -> ASGIApp:
        asked = read_openai(request.url.path, request.headers, await _body(request))
        return _answer(director, asked, OpenAIWriter(asked))

    async def gemini(request: Request) -> ASGIApp:
        model, _, method = request.path_params["target"].rpartition(":")
        body = await _body(request)
        asked = read_gemini(request.url.path, request.headers, body, model)
        if method == "countTokens":
            return JSONResponse({"totalTokens": _count(asked)})
        return _answer(director, asked, GeminiWriter(asked))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", _tolerant(openai), methods=["POST"]),
            Route("/chat/completions", _tolerant(openai), methods=["POST"]),
            Route("/v1beta/models/{target:path}", _tolerant(gemini), methods=["POST"]),
            Route("/v1/models", _models),
            Route("/models", _models),
        ]
    )


def _answer(director: Director, asked: ModelRequest, writer: Writer) -> ASGIApp:
    try:
        actions = plan(asked, director.choose(asked), writer)
    except Exception as error:  # noqa: BLE001 # whatever the script's functions raise
        director.failed(error)
        told = http_error(500, f"a function in the model's script failed: {error!r}")
        actions = plan(asked, told, writer)
    return Playback(actions, lambda: director.client_left(asked))


def _tolerant(endpoint: Endpoint) -> Endpoint:
    """Keep a client's faults out of the server's log."""

    async def tolerant(request: Request) -> ASGIApp:
        try:
            return await endpoint(request)
        except ValueError as error:
            return JSONResponse({"error": {"code": 400, "message": str(error)}}, 400)
        except ClientDisconnect:
            return _nothing

    return tolerant


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nobody."""


async def _models(_: Request) -> ASGIApp:
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "agy_actors"}
    return JSONResponse({"object": "list", "data": [model]})


async def _body(request: Request) -> dict[str, Any]:
    """Return the body of a request, empty where it is no JSON object."""
    body = json.loads(await request.body())
    return body if isinstance(body, dict) else {}


def _count(asked: ModelRequest) -> int:
    return sum(len(text.split()) for _, text in asked.messages)
