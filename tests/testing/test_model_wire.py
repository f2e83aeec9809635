"""The bytes that the scripted model sends, in both protocols."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors.testing import (
    Reply,
    ScriptedModel,
    ToolCall,
    Usage,
    call_tool,
    call_tools,
    http_error,
    malformed,
    quota_error,
    say,
)
from tests.testing.model_client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def openai(model: ScriptedModel) -> Client:
    return Client("openai", model)


@pytest.fixture
def gemini(model: ScriptedModel) -> Client:
    return Client("gemini", model)


def test_without_a_script_the_prompt_is_echoed(client: Client) -> None:
    assert client.said("what now?") == "echo: what now?"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "one",
        "  two words\n\n",
        "größe 🌧 日本",
        "a\x00b\x1c\u2028c\td",
        "\ud800",
        "x" * 200_000,
    ],
)
@pytest.mark.parametrize("chunks", [None, 1000])
def test_streamed_pieces_put_together_are_exactly_the_text(
    client: Client, text: str, chunks: int | None
) -> None:
    client.model.then(say(text, chunks=chunks))

    assert client.said() == text


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        (None, ["ab ", "cd  ", "e"]),
        (3, ["ab ", "cd ", " e"]),
        (["ab cd", "  e"], ["ab cd", "  e"]),
    ],
)
def test_text_is_cut_as_asked(
    client: Client, chunks: int | Sequence[str] | None, pieces: list[str]
) -> None:
    client.model.then(say("ab cd  e", chunks=chunks))

    assert client.pieces(client.ask()) == pieces


def test_text_may_be_made_from_the_request(client: Client) -> None:
    client.model.then(say(lambda request: f"{request.protocol} {request.model} {request.prompt}"))

    assert client.said("hey") == f"{client.protocol} m hey"


def test_an_openai_stream_ends_with_reason_usage_and_done(openai: Client) -> None:
    openai.model.then(say("one two", usage=Usage(prompt=7, completion=3, thoughts=2, cached=5)))

    answer = openai.ask()

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.data.endswith(b"\n\ndata: [DONE]\n\n")
    *_, last, usage = answer.events
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_a_gemini_stream_ends_with_reason_and_usage(gemini: Client) -> None:
    gemini.model.then(say("one two", usage=Usage(prompt=7, completion=3, thoughts=2, cached=5)))

    answer = gemini.ask()

    assert answer.headers["content-type"] == "text/event-stream"
    last = answer.events[-1]
    assert last["candidates"] == [{"finishReason": "STOP", "index": 0}]
    assert last["modelVersion"] == "m"
    assert last["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 2,
        "cachedContentTokenCount": 5,
        "totalTokenCount": 12,
    }


def test_by_default_usage_is_counted_in_words(openai: Client) -> None:
    openai.model.then(say("a b c"))

    usage = openai.ask("d e").events[-1]["usage"]

    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2, 3)


def test_thoughts_come_before_the_text_and_separately(client: Client) -> None:
    client.model.then(say("answer", thought="hm, well"))

    answer = client.ask()

    first = answer.events[0]
    if client.protocol == "openai":
        assert first["choices"][0]["delta"]["reasoning_content"] == "hm, well"
    else:
        part = first["candidates"][0]["content"]["parts"][0]
        assert part == {"text": "hm, well", "thought": True}
    assert client.pieces(answer) == ["answer"]


def test_openai_tool_calls_are_chunks_with_arguments_in_json(openai: Client) -> None:
    openai.model.then(
        call_tools([ToolCall("add", {"a": 1}, "c1"), ToolCall("hurry")], text="Let me see.")
    )

    answer = openai.ask()

    assert openai.pieces(answer) == ["Let ", "me ", "see."]
    calls, last, _ = answer.events[-3:]
    first, second = calls["choices"][0]["delta"]["tool_calls"]
    assert first == {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a": 1}'},
    }
    assert second["index"] == 1
    assert second["id"]
    assert last["choices"][0]["finish_reason"] == "tool_calls"


def test_gemini_tool_calls_are_parts(gemini: Client) -> None:
    gemini.model.then(call_tool("add", {"a": 1}, id="c1", text="Well,"))

    answer = gemini.ask()

    assert gemini.pieces(answer) == ["Well,"]
    parts = answer.events[-2]["candidates"][0]["content"]["parts"]
    assert parts == [{"functionCall": {"id": "c1", "name": "add", "args": {"a": 1}}}]


def test_an_answer_that_is_not_streamed_is_one_json_object(client: Client) -> None:
    client.model.then(
        Reply(text="a b", thought="hm", tool_calls=(ToolCall("add", {"a": 1}, "c1"),))
    )

    answer = client.ask(stream=False).json

    if client.protocol == "openai":
        [choice] = answer["choices"]
        assert choice["message"]["content"] == "a b"
        assert choice["message"]["reasoning_content"] == "hm"
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "add"
        assert choice["finish_reason"] == "tool_calls"
        assert answer["usage"]["total_tokens"] > 0
    else:
        [candidate] = answer["candidates"]
        assert candidate["content"]["parts"] == [
            {"text": "hm", "thought": True},
            {"text": "a b"},
            {"functionCall": {"id": "c1", "name": "add", "args": {"a": 1}}},
        ]
        assert answer["usageMetadata"]["totalTokenCount"] > 0


@pytest.mark.parametrize("stream", [True, False])
def test_openai_errors_have_its_body(openai: Client, stream: bool) -> None:
    openai.model.then(http_error(401, "bad key"), http_error(500), http_error(599))

    unauthorized, broken, odd = (openai.ask(stream=stream) for _ in range(3))

    assert unauthorized.status == 401
    assert unauthorized.json["error"] == {
        "message": "bad key",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert broken.status == 500
    assert broken.json["error"]["message"] == "Internal Server Error"
    assert broken.json["error"]["type"] == "server_error"
    assert odd.status == 599


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (418, "UNKNOWN"),
    ],
)
def test_gemini_errors_have_its_body(gemini: Client, status: int, name: str) -> None:
    gemini.model.then(http_error(status, "sorry"))

    answer = gemini.ask()

    assert answer.status == status
    assert answer.json["error"] == {
        "code": status,
        "message": "sorry",
        "status": name,
        "details": [],
    }


def test_an_error_may_have_its_own_headers_and_body(client: Client) -> None:
    client.model.then(
        http_error(502, headers={"X-Why": "because"}, body=b"<html>"),
        http_error(502, body=["odd"]),
    )

    raw, odd = client.ask(), client.ask()

    assert raw.data == b"<html>"
    assert raw.headers["x-why"] == "because"
    assert odd.json == ["odd"]


def test_a_status_that_is_not_an_error_is_refused() -> None:
    with pytest.raises(ValueError, match="from 400 to 599, got 200"):
        http_error(200)


@pytest.mark.parametrize(
    ("name", "value"), [("X", "日"), ("X", "a\nb"), ("X", " a"), ("X Y", "a"), ("", "a")]
)
def test_a_header_that_http_cannot_hold_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="invalid HTTP header"):
        http_error(500, headers={name: value})


def test_malformed_data_must_be_bytes() -> None:
    data: Any = "data: {oops"

    with pytest.raises(TypeError, match="must be bytes"):
        malformed("well ", data)


@pytest.mark.parametrize(("seconds", "header", "delay"), [(12.0, "12", "12s"), (0.5, "1", "0.5s")])
def test_a_quota_error_says_when_to_retry(
    client: Client, seconds: float, header: str, delay: str
) -> None:
    client.model.then(quota_error(seconds))

    answer = client.ask()

    assert answer.status == 429
    assert answer.headers["retry-after"] == header
    if client.protocol == "openai":
        assert answer.json["error"]["code"] == "rate_limit_exceeded"
    else:
        failure, retry = answer.json["error"]["details"]
        assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
        assert failure["violations"][0]["quotaDimensions"]["model"] == "m"
        assert retry == {
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": delay,
        }


def test_a_quota_error_has_its_delay_also_in_the_text(client: Client) -> None:
    client.model.then(quota_error(12.0), quota_error(12.0, "MARK"))

    told, marked = client.ask(), client.ask()

    assert told.json["error"]["message"].endswith(" Please retry in 12s.")
    assert marked.json["error"]["message"] == "MARK"


def test_a_quota_error_may_leave_open_when_to_come_back(client: Client) -> None:
    client.model.then(quota_error(None))

    answer = client.ask()

    assert answer.status == 429
    assert "retry-after" not in answer.headers
    assert "retry" not in answer.json["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_malformed_bytes_come_after_the_text_and_end_the_answer(
    client: Client, stream: bool
) -> None:
    client.model.then(malformed("well ", b"data: {oops\n\n"))

    data = client.ask(stream=stream).data

    assert data.endswith(b"data: {oops\n\n")
    assert (b"well " in data) is stream
    assert b"DONE" not in data


def test_with_no_malformed_bytes_the_answer_just_ends_early(client: Client) -> None:
    client.model.then(malformed("well ", b""))

    answer = client.ask()

    assert client.pieces(answer) == ["well "]
    assert len(answer.events) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_openai_requests_come_with_or_without_v1(openai: Client, path: str) -> None:
    answer = openai.send("POST", path, json.dumps(openai.body("hi")).encode())

    assert answer.status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_the_models_can_be_listed(openai: Client, path: str) -> None:
    assert [each["id"] for each in openai.send("GET", path).json["data"]] == ["scripted"]


def test_gemini_counts_tokens_outside_the_script(gemini: Client) -> None:
    body = json.dumps(gemini.body("one two three")).encode()

    answer = gemini.send("POST", "/v1beta/models/m:countTokens", body)

    assert answer.json == {"totalTokens": 3}
    assert gemini.model.requests == ()


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"messages": None, "contents": "?", "tools": {}},
        {"messages": [None, {"role": "user"}, {"content": 3}], "contents": [1, {"parts": 2}]},
        {"contents": [{"parts": [{"functionResponse": {}}, {}]}], "systemInstruction": 1},
    ],
)
def test_a_request_without_any_text_is_answered(client: Client, body: Any) -> None:
    answer = client.send("POST", client.path(), json.dumps(body).encode())

    assert answer.status == 200
    assert client.model.requests[0].prompt == ""


@pytest.mark.parametrize("body", [b"", b"{no json", b"\xff\xfe\xfd", b"[" * 100_000])
def test_a_body_that_is_not_json_is_a_bad_request_outside_the_script(
    client: Client, body: bytes
) -> None:
    client.model.then(say("one"))

    answer = client.send("POST", client.path(), body)

    assert answer.status == 400
    assert "the body is not JSON" in answer.json["error"]["message"]
    assert ("status" in answer.json["error"]) is (client.protocol == "gemini")
    assert client.model.requests == ()
    assert client.said() == "one"
