"""The scripted model's routes, for both protocols."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from agy_actors.testing.scripted_model.gemini import GeminiWriter, read_gemini
from agy_actors.testing.scripted_model.openai import OpenAIWriter, read_openai
from agy_actors.testing.scripted_model.plan import plan
from agy_actors.testing.scripted_model.playback import Playback
from agy_actors.testing.scripted_model.reply import http_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from agy_actors.testing.scripted_model.plan import Writer
    from agy_actors.testing.scripted_model.reply import Reply
    from agy_actors.testing.scripted_model.request import ModelRequest

    Endpoint = Callable[[Request], Awaitable[ASGIApp]]

__all__ = ["Handler", "make_app"]


class Handler(Protocol):
    """Chooses replies and records what happens. Only the server's thread uses it."""

    def choose(self, request: ModelRequest) -> Reply:
        """Record a request and choose its reply."""
        ...

    def client_left(self, request: ModelRequest) -> None:
        """Record that a client disconnected before its reply ended."""
        ...

    def failed(self, error: BaseException) -> None:
        """Record an error of a function of the script, or of the server."""
        ...


def make_app(handler: Handler) -> ASGIApp:
    """Return the application that sends the handler's replies."""

    async def openai(request: Request) -> ASGIApp:
        body, fault = _parsed(await request.body())
        asked = read_openai(request.url.path, request.headers, body)
        return _answer(handler, asked, OpenAIWriter(asked), fault)

    async def gemini(request: Request) -> ASGIApp:
        model, _, method = request.path_params["target"].rpartition(":")
        body, fault = _parsed(await request.body())
        asked = read_gemini(request.url.path, request.headers, body, model)
        if method == "countTokens" and fault is None:
            return JSONResponse({"totalTokens": _count(asked)})
        return _answer(handler, asked, GeminiWriter(asked), fault)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", _guarded(openai, handler), methods=["POST"]),
            Route("/chat/completions", _guarded(openai, handler), methods=["POST"]),
            Route("/v1beta/models/{target:path}", _guarded(gemini, handler), methods=["POST"]),
            Route("/v1/models", _models),
            Route("/models", _models),
        ]
    )


def _answer(handler: Handler, asked: ModelRequest, writer: Writer, fault: str | None) -> ASGIApp:
    """Send the reply of the script, or an HTTP error if the request or the script is wrong."""
    try:
        reply = handler.choose(asked) if fault is None else http_error(400, fault)
        actions = plan(asked, reply, writer)
    # A function of the script may raise any BaseException, as `pytest.fail` does. This block awaits
    # nothing, so it cannot catch a cancellation of this task.
    except BaseException as error:  # noqa: BLE001
        handler.failed(error)
        failure = http_error(500, f"a function of the model's script failed: {error!r}")
        actions = plan(asked, failure, writer)
    return Playback(actions, lambda: handler.client_left(asked), handler.failed)


def _guarded(endpoint: Endpoint, handler: Handler) -> Endpoint:
    """Let `ScriptedModel.close` raise errors of this module: nobody reads the server's log."""

    async def guarded(request: Request) -> ASGIApp:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return _nothing
        except Exception as error:  # noqa: BLE001 # `close` raises it
            handler.failed(error)
            return JSONResponse({"error": {"code": 500, "message": repr(error)}}, 500)

    return guarded


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Send nothing: the client has disconnected."""


async def _models(_: Request) -> ASGIApp:
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "agy_actors"}
    return JSONResponse({"object": "list", "data": [model]})


def _parsed(raw: bytes) -> tuple[dict[str, Any], str | None]:
    """Return the body of a request, or an empty one with an error text if it is not JSON."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:  # The latter: deeply nested brackets.
        return {}, f"the body is not JSON: {error}"
    return body if isinstance(body, dict) else {}, None


def _count(asked: ModelRequest) -> int:
    return sum(len(text.split()) for _, text in asked.messages)
