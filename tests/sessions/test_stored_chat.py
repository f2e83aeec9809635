"""Chats, replies and errors come back from their JSON text."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity.types import (
    Audio,
    BuiltinSlashCommandName,
    BuiltinTools,
    Document,
    Image,
    ServiceTier,
    SlashCommand,
    StopReason,
    ToolCall,
    UsageMetadata,
    Video,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import agy_actors
from agy_actors import (
    AgyActorsError,
    Chat,
    ChatReply,
    ConversationInUse,
    HookError,
    InvalidPrompt,
    ModelError,
    QuotaExceeded,
    SetupError,
    TurnError,
    TurnInterrupted,
    TurnTimeout,
)
from agy_actors._actors.arguments import shown
from agy_actors._sessions.stored_chat import (
    decode_chat,
    decode_reply,
    encode_chat,
    encode_reply,
    has_prompt_of,
)
from agy_actors._sessions.stored_error import decode_error, encode_error

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = [
    "Text with \N{GRINNING FACE} and \0",
    Image(data=bytes(range(256)), mime_type="image/png", description="noise"),
    Document(data=b"%PDF", mime_type="application/pdf"),
    Audio(data=b"\xff\xfb", mime_type="audio/mpeg"),
    Video(data=b"\0\0", mime_type="video/mp4"),
    SlashCommand(name=BuiltinSlashCommandName.PLAN),
]
CALL = ToolCall(
    name=BuiltinTools.VIEW_FILE,
    args={"path": "a", "lines": [1, 2.5, None, True, {"x": "y"}]},
    id="1",
    step_id="2",
    canonical_path="/a",
    server_name=None,
)


@pytest.mark.parametrize("prompt", [*PARTS, PARTS], ids=lambda prompt: type(prompt).__name__)
def test_a_prompt_comes_back(prompt: Any) -> None:
    chat = Chat(prompt)

    back = decode_chat(encode_chat(chat))

    assert back == chat
    assert type(back.prompt) is type(chat.prompt)


def test_all_fields_are_saved() -> None:
    chat = json.loads(encode_chat(Chat("hi")))
    reply = json.loads(
        encode_reply(ChatReply(text="", stop_reason=StopReason.UNSPECIFIED, conversation_id="c"))
    )

    assert {*chat, "response_schema"} == {field.name for field in dataclasses.fields(Chat)}
    assert {*reply, "parsed"} == {field.name for field in dataclasses.fields(ChatReply)}


def test_a_tuple_of_parts_comes_back_as_a_list() -> None:
    assert decode_chat(encode_chat(Chat(("a", "b")))) == Chat(["a", "b"])


@given(
    text=st.text(st.characters(codec="utf-8"), min_size=1).map(lambda text: f"x{text}"),
    timeout=st.none() | st.floats(min_value=1e-9, allow_nan=False),
    stall_timeout=st.none() | st.just(math.inf) | st.integers(1, 9),
    metadata=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ).filter(lambda value: "inf" not in repr(value)),
)
def test_every_chat_comes_back(text: str, timeout: Any, stall_timeout: Any, metadata: Any) -> None:
    chat = Chat(text, timeout=timeout, stall_timeout=stall_timeout, metadata=metadata)

    back = decode_chat(encode_chat(chat))

    assert back == chat
    assert back.metadata == metadata


@pytest.mark.parametrize(
    "metadata", [object(), (1, 2), {1: "a"}, {"a": b"b"}, math.nan, math.inf, {1}]
)
def test_metadata_that_is_not_json_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidPrompt, match="the metadata of a submitted Chat must be JSON"):
        encode_chat(Chat("hi", metadata=metadata))


def test_metadata_that_contains_itself_is_refused() -> None:
    metadata: list[Any] = []
    metadata.append(metadata)

    with pytest.raises(InvalidPrompt, match="must be JSON"):
        encode_chat(Chat("hi", metadata=metadata))


def test_a_response_schema_is_refused() -> None:
    class Answer(BaseModel):
        number: int

    with pytest.raises(InvalidPrompt, match="a class cannot be saved; leave it out"):
        encode_chat(Chat("hi", response_schema=Answer))


@pytest.mark.parametrize("decode", [decode_chat, decode_reply, decode_error])
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"prompt": {"type": "Rock"}}', "1"])
def test_other_text_is_refused(decode: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"not a saved|Expecting"):
        decode(text)


def test_chats_are_compared_by_their_prompts() -> None:
    one = encode_chat(Chat(PARTS, timeout=1.0, metadata=1))

    assert has_prompt_of(one, encode_chat(Chat(tuple(PARTS), metadata=2)))
    assert not has_prompt_of(one, encode_chat(Chat(PARTS[:-1])))


def test_a_reply_comes_back() -> None:
    reply = ChatReply(
        text="yes \ud800",
        thoughts="hm",
        tool_calls=(CALL, ToolCall(name="own", server_name="shop")),
        usage=UsageMetadata(prompt_token_count=0, service_tier=ServiceTier.PRIORITY),
        structured_output={"a": [1, None]},
        stop_reason=StopReason.QUOTA_EXHAUSTED,
        attempts=3,
        conversation_id="c" * 32,
        metadata=["m"],
    )

    assert decode_reply(encode_reply(reply)) == reply


def test_a_reply_without_a_structure_comes_back() -> None:
    reply = ChatReply(text="", stop_reason=StopReason.UNSPECIFIED, conversation_id="c")

    assert decode_reply(encode_reply(reply)) == reply


def test_parts_of_a_reply_that_are_not_json_are_saved_as_text() -> None:
    circle: list[Any] = []
    circle.append(circle)

    class Answer(BaseModel):
        number: int

    reply = ChatReply(
        text="",
        tool_calls=(ToolCall(name="own", args={"data": b"\xff", "pairs": {(1, 2): 3}}),),
        structured_output=circle,
        parsed=Answer(number=1),
        metadata={"object": {1, 2}},
        stop_reason=StopReason.UNSPECIFIED,
        conversation_id="c",
    )

    back = decode_reply(encode_reply(reply))

    assert back.tool_calls[0].args == {"data": repr(b"\xff"), "pairs": {}}
    assert back.structured_output == shown(circle)
    assert back.metadata == {"object": "{1, 2}"}
    assert back.parsed is None


ERRORS: list[AgyActorsError] = [
    TurnTimeout("no reply within 5 s", text="so far", tool_calls=(CALL,)),
    ModelError("HTTP 503", status=503),
    QuotaExceeded("HTTP 429", retry_after=2.5),
    HookError("failed", hook="pre_turn hook 'check'"),
    SetupError("MCP server", culprit="MCP server 'shop'", retryable=True),
    TurnInterrupted("twice", retryable=False),
    ConversationInUse("busy", conversation_id="c", pid=7, host="h", since=1.5),
    InvalidPrompt("empty"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_agy_actors_comes_back_with_its_attributes(error: AgyActorsError) -> None:
    back = decode_error(encode_error(error))

    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert isinstance(back, AgyActorsError)
    assert back.retryable == error.retryable


def test_every_public_error_comes_back() -> None:
    kinds = [getattr(agy_actors, name) for name in agy_actors.__all__]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, AgyActorsError)]

    back = [decode_error(encode_error(kind("why"))) for kind in errors]

    assert [type(error) for error in back] == errors
    assert len(errors) > 20
    assert {str(error) for error in back} == {"why"}


class OwnError(TurnError):
    """One that a user derives."""


@pytest.mark.parametrize("error", [KeyError("k"), OwnError("'k'")], ids=["builtin", "derived"])
def test_any_other_error_comes_back_as_a_turn_error_with_its_name(error: Exception) -> None:
    back = decode_error(encode_error(error))

    assert type(back) is TurnError
    assert str(back) == f"{type(error).__name__}: 'k'"
    assert back.text == ""


def test_attributes_that_are_not_plain_are_left_out() -> None:
    error = TurnError("why", text="so far")
    vars(error).update(secret=object(), notes=["a", 1], __notes__=["note"])

    back = decode_error(encode_error(error))

    assert vars(back) == {
        "text": "so far",
        "tool_calls": (),
        "notes": ["a", 1],
        "__notes__": ["note"],
    }
    assert "secret" not in json.loads(encode_error(error))["attributes"]
