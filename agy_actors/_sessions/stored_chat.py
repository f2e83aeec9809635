"""Chats and their replies as JSON text, for a database."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.antigravity.types import (
    Audio,
    BuiltinSlashCommandName,
    Document,
    Image,
    SlashCommand,
    StopReason,
    ToolCall,
    UsageMetadata,
    Video,
)

from agy_actors._actors.arguments import shown
from agy_actors._agents.agent_messages import Chat, ChatReply
from agy_actors._sdk.errors import InvalidPrompt

__all__ = [
    "decode_chat",
    "decode_reply",
    "decode_trace",
    "encode_chat",
    "encode_reply",
    "has_prompt_of",
]

_MEDIA = {kind.__name__: kind for kind in (Image, Document, Audio, Video)}


def encode_chat(chat: Chat[Any], trace: str | None = None) -> str:
    """Return a chat as JSON text. `decode_chat` returns an equal one, with a list of parts.

    Args:
        chat: the chat.
        trace: the span of the code that submits it, which `decode_trace` returns.

    Raises:
        InvalidPrompt: it has a `response_schema`, which is a class and cannot be saved, or its
            metadata is not JSON.
    """
    if chat.response_schema is not None:
        raise InvalidPrompt(
            f"a submitted Chat cannot have a response_schema, got {shown(chat.response_schema)}:"
            " a class cannot be saved; leave it out and validate reply.structured_output with it"
        )
    _check_metadata(chat.metadata)
    return json.dumps(
        {
            "prompt": _encode_prompt(chat.prompt),
            "timeout": chat.timeout,
            "stall_timeout": chat.stall_timeout,
            "metadata": chat.metadata,
            **({} if trace is None else {"trace": trace}),
        }
    )


def decode_trace(text: str) -> str | None:
    """Return the trace that `encode_chat` got, or `None`."""
    trace = json.loads(text).get("trace")
    return trace if isinstance(trace, str) else None


def decode_chat(text: str) -> Chat:
    """Return the chat that `encode_chat` returned a text for.

    Raises:
        ValueError: the text is of nothing that this release can send. (`InvalidPrompt` is one.)
    """
    facts = json.loads(text)
    try:
        return Chat(
            _decode_prompt(facts["prompt"]),
            timeout=facts["timeout"],
            stall_timeout=facts["stall_timeout"],
            metadata=facts["metadata"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a saved chat: {error!r}") from error


def has_prompt_of(one: str, other: str) -> bool:
    """Return whether two chats, as texts of `encode_chat`, have the same prompt."""
    return bool(json.loads(one)["prompt"] == json.loads(other)["prompt"])


def encode_reply(reply: ChatReply[Any]) -> str:
    """Return a reply as JSON text. It never fails because of a value in the reply.

    A value that is not JSON, such as an argument of a tool call, is saved as its `repr`. `parsed`
    is not saved.
    """
    return json.dumps(
        {
            "text": reply.text,
            "thoughts": reply.thoughts,
            "tool_calls": encode_tool_calls(reply.tool_calls),
            "usage": None if reply.usage is None else reply.usage.model_dump(mode="json"),
            "structured_output": to_json(reply.structured_output),
            "stop_reason": reply.stop_reason.value,
            "attempts": reply.attempts,
            "conversation_id": reply.conversation_id,
            "metadata": to_json(reply.metadata),
        }
    )


def decode_reply(text: str) -> ChatReply:
    """Return the reply that `encode_reply` returned a text for, with `parsed` as `None`.

    Raises:
        ValueError: the text is not of a reply.
    """
    facts = json.loads(text)
    try:
        usage = facts.pop("usage")
        return ChatReply(
            tool_calls=decode_tool_calls(facts.pop("tool_calls")),
            usage=None if usage is None else UsageMetadata.model_validate(usage),
            stop_reason=StopReason(facts.pop("stop_reason")),
            **facts,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a saved reply: {error!r}") from error


def encode_tool_calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    """Return tool calls as JSON."""
    return [to_json(call.model_dump()) for call in calls]


def decode_tool_calls(calls: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    """Return the tool calls that `encode_tool_calls` returned the JSON for."""
    return tuple(ToolCall.model_validate(call) for call in calls)


def to_json(value: Any) -> Any:
    """Return a value as JSON, with the `repr` of parts that are not."""
    try:
        return json.loads(json.dumps(value, default=shown, skipkeys=True))
    except (ValueError, RecursionError):  # It contains itself.
        return shown(value)


def _check_metadata(metadata: Any) -> None:
    try:
        back = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPrompt(
            f"the metadata of a submitted Chat must be JSON, got {shown(metadata)} ({error})"
        ) from error
    if back != metadata:
        raise InvalidPrompt(
            "the metadata of a submitted Chat must be JSON (use lists instead of tuples, and text"
            f" for the keys of a dict): {shown(metadata)} would come back as {shown(back)}"
        )


def _encode_prompt(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return str(prompt)
    if isinstance(prompt, SlashCommand):
        return {"type": "SlashCommand", "name": prompt.name.value}
    for name, kind in _MEDIA.items():
        if isinstance(prompt, kind):
            return {
                "type": name,
                "data": base64.b64encode(prompt.data).decode(),
                "mime_type": prompt.mime_type,
                "description": prompt.description,
            }
    return [_encode_prompt(part) for part in prompt]


def _decode_prompt(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list):
        return [_decode_prompt(part) for part in prompt]
    facts = dict(prompt)
    kind = facts.pop("type")
    if kind == "SlashCommand":
        return SlashCommand(name=BuiltinSlashCommandName(facts["name"]))
    facts["data"] = base64.b64decode(facts["data"])
    return _MEDIA[kind](**facts)
