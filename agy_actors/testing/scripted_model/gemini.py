"""The Gemini protocol (generateContent): parses requests, encodes replies."""

from __future__ import annotations

import itertools
import json
import time
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

__all__ = ["GeminiWriter", "read_gemini"]

_ids = itertools.count(1)
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RPC = "type.googleapis.com/google.rpc."


def read_gemini(
    path: str, headers: Mapping[str, str], body: dict[str, Any], model: str
) -> ModelRequest:
    """Parse a request. Missing and malformed parts count as empty."""
    messages: list[tuple[str, str]] = []
    said: list[str] = []
    results: list[ToolResult] = []
    for content in _dicts(body.get("contents")):
        parts = _dicts(content.get("parts"))
        found = [_result(p["functionResponse"]) for p in parts if _is(p, "functionResponse")]
        results += found
        messages += [("tool", result.output) for result in found]
        text = _text(parts)
        # Tool results can have any role: the harness (SDK 0.1.22) sends "model".
        if text or not found:
            if content.get("role") == "model":
                messages.append(("assistant", text))
            else:
                messages.append(("user", unwrap(text)))
                said.append(text)
    system = body.get("systemInstruction")
    return ModelRequest(
        protocol="gemini",
        path=path,
        headers=Headers(headers),
        body=body,
        model=model,
        prompt=last_prompt(said),
        messages=tuple(messages),
        system=unwrap(_text(_dicts(system.get("parts")))) if isinstance(system, dict) else "",
        tools=tuple(
            str(declared.get("name", ""))
            for tool in _dicts(body.get("tools"))
            for declared in _dicts(tool.get("functionDeclarations"))
        ),
        tool_results=tuple(results),
        received_at=time.monotonic(),
    )


class GeminiWriter:
    """Encodes one reply."""

    def __init__(self, request: ModelRequest) -> None:
        self.streams = request.path.endswith(":streamGenerateContent")
        self._tail = {"modelVersion": request.model, "responseId": f"response-{next(_ids)}"}

    def text(self, piece: str) -> bytes:
        """Encode a piece of text."""
        return self._event([{"text": piece}])

    def thought(self, piece: str) -> bytes:
        """Encode a piece of thought."""
        return self._event([{"text": piece, "thought": True}])

    def calls(self, calls: Sequence[ToolCall]) -> bytes:
        """Encode tool calls."""
        return self._event(_calls(calls))

    def end(self, usage: Usage, *, called: bool) -> bytes:
        """Encode the end of a stream."""
        del called  # The reason is STOP in both cases.
        return _sse(self._answer([], usage))

    def whole(
        self, text: str, thought: str | None, calls: Sequence[ToolCall], usage: Usage
    ) -> bytes:
        """Encode a whole reply that is not streamed."""
        parts: list[dict[str, Any]] = []
        if thought is not None:
            parts.append({"text": thought, "thought": True})
        if text:
            parts.append({"text": text})
        return json.dumps(self._answer(parts + _calls(calls), usage)).encode()

    def error(self, error: HttpError) -> dict[str, Any]:
        """Return the body of an error: a google.rpc.Status."""
        details: list[dict[str, Any]] = []
        if error.retry_after is not None:
            model = self._tail["modelVersion"]
            violation = {
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
                "quotaDimensions": {"location": "global", "model": model},
                "quotaValue": "10",
            }
            details = [
                {"@type": f"{_RPC}QuotaFailure", "violations": [violation]},
                {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{error.retry_after:g}s"},
            ]
        status = _STATUS.get(error.status, "UNKNOWN")
        return {
            "error": {
                "code": error.status,
                "message": error.message,
                "status": status,
                "details": details,
            }
        }

    def _event(self, parts: list[dict[str, Any]]) -> bytes:
        content = {"parts": parts, "role": "model"}
        return _sse({"candidates": [{"content": content, "index": 0}], **self._tail})

    def _answer(self, parts: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        candidate: dict[str, Any] = {"finishReason": "STOP", "index": 0}
        if parts:
            candidate["content"] = {"parts": parts, "role": "model"}
        return {"candidates": [candidate], "usageMetadata": _usage(usage), **self._tail}


def _sse(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


def _calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "functionCall": {
                "id": call.id or f"call-{next(_ids)}",
                "name": call.name,
                "args": dict(call.args),
            }
        }
        for call in calls
    ]


def _usage(usage: Usage) -> dict[str, int]:
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion,
        "thoughtsTokenCount": usage.thoughts,
        "cachedContentTokenCount": usage.cached,
        "totalTokenCount": usage.prompt + usage.completion + usage.thoughts,
    }
    return {name: count for name, count in counts.items() if count}


def _result(response: dict[str, Any]) -> ToolResult:
    output = response.get("response")
    if isinstance(output, dict) and len(output) == 1:
        [output] = output.values()
    return ToolResult(
        str(response.get("name", "")),
        output if isinstance(output, str) else json.dumps(output),
        str(response.get("id", "")),
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is(part: dict[str, Any], kind: str) -> bool:
    return isinstance(part.get(kind), dict)


def _text(parts: list[dict[str, Any]]) -> str:
    return "".join(str(part.get("text", "")) for part in parts if not part.get("thought"))
