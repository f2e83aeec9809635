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

    def failed(self, error: BaseException) -> None:
        """Note what went wrong in answering: in the script's functions, or here."""
        ...


def make_app(director: Director) -> ASGIApp:
    """Make the application that answers as the director says."""

    async def openai(request: Request) -> ASGIApp:
        body, fault = _parsed(await request.body())
        asked = read_openai(request.url.path, request.headers, body)
        return _answer(director, asked, OpenAIWriter(asked), fault)

    async def gemini(request: Request) -> ASGIApp:
        model, _, method = request.path_params["target"].rpartition(":")
        body, fault = _parsed(await request.body())
        asked = read_gemini(request.url.path, request.headers, body, model)
        if method == "countTokens" and fault is None:
            return JSONResponse({"totalTokens": _count(asked)})
        return _answer(director, asked, GeminiWriter(asked), fault)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", _guarded(openai, director), methods=["POST"]),
            Route("/chat/completions", _guarded(openai, director), methods=["POST"]),
            Route("/v1beta/models/{target:path}", _guarded(gemini, director), methods=["POST"]),
            Route("/v1/models", _models),
            Route("/models", _models),
        ]
    )


def _answer(director: Director, asked: ModelRequest, writer: Writer, fault: str | None) -> ASGIApp:
    """Answer by the script, or with what is wrong with the request or with the script."""
    try:
        reply = director.choose(asked) if fault is None else http_error(400, fault)
        actions = plan(asked, reply, writer)
    # The script's functions raise what they like: `pytest.fail` is no Exception. Nothing
    # is awaited here, so that no cancellation of this task is caught with it.
    except BaseException as error:  # noqa: BLE001
        director.failed(error)
        told = http_error(500, f"a function in the model's script failed: {error!r}")
        actions = plan(asked, told, writer)
    return Playback(actions, lambda: director.client_left(asked), director.failed)


def _guarded(endpoint: Endpoint, director: Director) -> Endpoint:
    """Have a failure of our own told by `close`: the server's log is read by nobody."""

    async def guarded(request: Request) -> ASGIApp:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return _nothing
        except Exception as error:  # noqa: BLE001 # whatever it is, the user has to hear of it
            director.failed(error)
            return JSONResponse({"error": {"code": 500, "message": repr(error)}}, 500)

    return guarded


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nobody."""


async def _models(_: Request) -> ASGIApp:
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "agy_actors"}
    return JSONResponse({"object": "list", "data": [model]})


def _parsed(raw: bytes) -> tuple[dict[str, Any], str | None]:
    """Return the body of a request, empty where it is no JSON object, and its fault."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:  # The latter: brackets without end.
        return {}, f"the body is not JSON: {error}"
    return body if isinstance(body, dict) else {}, None


def _count(asked: ModelRequest) -> int:
    return sum(len(text.split()) for _, text in asked.messages)
