"""The OpenAI protocol (chat completions): parses requests, encodes replies."""

from __future__ import annotations

import itertools
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from agy_actors.testing.scripted_model.request import (
    Headers,
    ModelRequest,
    ToolResult,
    last_prompt,
    unwrap,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agy_actors.testing.scripted_model.reply import HttpError, ToolCall, Usage

__all__ = ["OpenAIWriter", "read_openai"]

_ids = itertools.count(1)
_CODES: dict[int, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: ("invalid_request_error", "invalid_api_key"),
    HTTPStatus.FORBIDDEN: ("permission_error", "permission_denied"),
    HTTPStatus.NOT_FOUND: ("invalid_request_error", "model_not_found"),
    HTTPStatus.TOO_MANY_REQUESTS: ("requests", "rate_limit_exceeded"),
}


def read_openai(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> ModelRequest:
    """Parse a request. Missing and malformed parts count as empty."""
    messages: list[tuple[str, str]] = []
    said: list[str] = []
    system: list[str] = []
    results: list[ToolResult] = []
    called: dict[str, str] = {}
    for message in _dicts(body.get("messages")):
        role, text = str(message.get("role", "")), _text(message.get("content"))
        if role in {"system", "developer"}:
            system.append(text)
            continue
        if role == "tool":
            call = str(message.get("tool_call_id", ""))
            results.append(ToolResult(called.get(call, ""), text, call))
        for made in _dicts(message.get("tool_calls")):
            called[str(made.get("id", ""))] = _name(made)
        if role == "user":
            said.append(text)
        messages.append((role, unwrap(text) if role == "user" else text))
    return ModelRequest(
        protocol="openai",
        path=path,
        headers=Headers(headers),
        body=body,
        model=str(body.get("model", "")),
        prompt=last_prompt(said),
        messages=tuple(messages),
        system=unwrap("\n".join(system)),
        tools=tuple(_name(tool) for tool in _dicts(body.get("tools"))),
        tool_results=tuple(results),
        received_at=time.monotonic(),
    )


class OpenAIWriter:
    """Encodes one reply."""

    def __init__(self, request: ModelRequest) -> None:
        self.streams = bool(request.body.get("stream"))
        self._head = {
            "id": f"chatcmpl-{next(_ids)}",
            "created": int(time.time()),
            "model": request.model,
        }

    def text(self, piece: str) -> bytes:
        """Encode a piece of text."""
        return self._chunk({"role": "assistant", "content": piece})

    def thought(self, piece: str) -> bytes:
        """Encode a piece of thought, in the field that most servers of this protocol use."""
        return self._chunk({"role": "assistant", "reasoning_content": piece})

    def calls(self, calls: Sequence[ToolCall]) -> bytes:
        """Encode tool calls."""
        return self._chunk({"role": "assistant", "tool_calls": _calls(calls)})

    def end(self, usage: Usage, *, called: bool) -> bytes:
        """Encode the end of a stream."""
        last = self._event([], usage=_usage(usage))
        return self._chunk({}, "tool_calls" if called else "stop") + last + b"data: [DONE]\n\n"

    def whole(
        self, text: str, thought: str | None, calls: Sequence[ToolCall], usage: Usage
    ) -> bytes:
        """Encode a whole reply that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thought is not None:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = _calls(calls)
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if calls else "stop",
        }
        answer = {"object": "chat.completion", "choices": [choice], "usage": _usage(usage)}
        return json.dumps({**self._head, **answer}).encode()

    def error(self, error: HttpError) -> dict[str, Any]:
        """Return the body of an error."""
        server = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        default = ("server_error" if server else "invalid_request_error", None)
        kind, code = _CODES.get(error.status, default)
        return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event([{"index": 0, "delta": delta, "finish_reason": finish}])

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        event = {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}
        return f"data: {json.dumps(event)}\n\n".encode()


def _calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": call.id or f"call_{next(_ids)}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.args))},
        }
        for index, call in enumerate(calls)
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    completion = usage.completion + usage.thoughts
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": completion,
        "total_tokens": usage.prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.thoughts},
    }


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in _dicts(content))


def _name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, dict) else ""
