"""The reply that a request gets, and the record of the request."""

from __future__ import annotations

import http.client
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from agy_actors import InvalidArgument
from agy_actors.testing import ModelRequest, ScriptedModel, ToolResult, call_tool, http_error, say
from tests.testing.model_client import Client

if TYPE_CHECKING:
    from tests.testing.model_client import ProtocolName

METADATA = "<ADDITIONAL_METADATA>\nThe current local time is: now.\n</ADDITIONAL_METADATA>"
SECRET = "sk-very-secret"


def test_a_sequence_is_played_once_in_order_and_then_the_default(client: Client) -> None:
    client.model.then(say("one"), http_error(503)).then(say("two"))

    answers = [client.ask() for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 503, 200, 200]
    assert ["".join(client.pieces(answers[i])) for i in (0, 2, 3)] == ["one", "two", "echo: hi"]


def test_a_sequence_comes_before_rules(client: Client) -> None:
    client.model.when("hi", say("rule")).then(say("sequence"))

    assert [client.said(), client.said()] == ["sequence", "rule"]


def test_the_first_rule_that_applies_answers(client: Client) -> None:
    client.model.when("rain", say("wet")).when(re.compile("RAIN|sun", re.IGNORECASE), say("sky"))

    assert [client.said(p) for p in ("rain", "Sun", "snow")] == ["wet", "sky", "echo: snow"]


def test_a_rule_plays_its_replies_and_repeats_the_last(client: Client) -> None:
    client.model.when("hi", say("one"), say("two"))

    assert [client.said() for _ in range(3)] == ["one", "two", "two"]


def test_a_rule_can_be_limited_to_a_number_of_requests(client: Client) -> None:
    client.model.when("hi", say("rule"), times=2)

    assert [client.said() for _ in range(3)] == ["rule", "rule", "echo: hi"]


def test_a_rule_may_be_a_function_of_the_request(client: Client) -> None:
    client.model.when(lambda request: len(request.prompt) > 3, say("long"))

    assert [client.said("a"), client.said("abcd")] == ["echo: a", "long"]


@pytest.mark.parametrize(("replies", "times"), [((), None), ((say("x"),), 0)])
def test_a_rule_that_can_never_answer_is_refused(
    model: ScriptedModel, replies: tuple[Any, ...], times: int | None
) -> None:
    with pytest.raises(ValueError, match=r"at least one reply|times must be"):
        model.when("hi", *replies, times=times)


def test_chunks_that_are_not_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="joined chunks must be equal"):
        say("ab", chunks=["a", "c"])
    with pytest.raises(ValueError, match="chunks must be an integer >= 1"):
        say("ab", chunks=0)


@pytest.mark.parametrize(
    ("answer", "said"), [(say("always"), "always"), (str.upper, "HI"), (None, "echo: hi")]
)
def test_the_default_can_be_chosen(protocol: ProtocolName, answer: Any, said: str) -> None:
    with ScriptedModel(answer) as model:
        assert Client(protocol, model).said("hi") == said


def test_reset_forgets_script_and_requests(client: Client) -> None:
    client.model.then(say("a"), say("b")).when("hi", say("c"))
    client.ask()

    client.model.reset()

    assert client.model.requests == ()
    assert client.said() == "echo: hi"


def test_the_last_of_many_requests_are_kept(protocol: ProtocolName) -> None:
    with ScriptedModel(keep=2) as model:
        client = Client(protocol, model)
        for prompt in ("one", "two", "three"):
            client.said(prompt)

        assert [request.prompt for request in model.wait_for_requests(3)] == ["two", "three"]
        assert "3 requests" in repr(model)


def test_a_model_must_keep_at_least_one_request() -> None:
    with pytest.raises(ValueError, match="keep must be an integer >= 1 or None, got 0"):
        ScriptedModel(keep=0)


def test_a_request_is_recorded_as_it_was(client: Client) -> None:
    client.ask("one")
    client.ask("two", stream=False)

    first, second = client.model.requests

    assert first.protocol == client.protocol
    assert first.path == client.path().partition("?")[0]
    assert first.body == client.body("one")
    assert first.model == "m"
    assert first.messages == (("user", "one"),)
    assert (first.system, first.tools, first.tool_results) == ("", (), ())
    assert first.headers["Content-Length"] == first.headers["content-length"]
    assert second.prompt == "two"
    assert first.received_at < second.received_at


def test_an_openai_conversation_is_read(model: ScriptedModel) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    body = {
        "messages": [
            {"role": "system", "content": "<System>\nBe brief.\n</System>"},
            {"role": "user", "content": [{"type": "text", "text": "1+1"}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ],
        "tools": [{"type": "function", "function": {"name": "add"}}],
    }

    Client("openai", model).send("POST", "/v1/chat/completions", json.dumps(body).encode())

    [request] = model.requests
    assert request.system == "Be brief."
    assert request.messages == (("user", "1+1"), ("assistant", ""), ("tool", "2"))
    assert request.tools == ("add",)
    assert request.tool_results == (ToolResult("add", "2", "c1"),)


def test_a_gemini_conversation_is_read(model: ScriptedModel) -> None:
    response = {"name": "add", "id": "c1", "response": {"output": "2"}}
    body = {
        "systemInstruction": {"parts": [{"text": "<System>\nBe brief.\n</System>"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "1+1"}, {"inlineData": {}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "add"}}]},
            {"role": "user", "parts": [{"functionResponse": response}]},
            {"role": "user", "parts": [{"functionResponse": {"response": {"a": 1, "b": 2}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "add"}]}],
    }
    path = "/v1beta/models/tuned/m:generateContent"

    Client("gemini", model).send("POST", path, json.dumps(body).encode())

    [request] = model.requests
    assert request.model == "tuned/m"
    assert request.system == "Be brief."
    assert request.messages == (
        ("user", "1+1"),
        ("assistant", ""),
        ("tool", "2"),
        ("tool", '{"a": 1, "b": 2}'),
    )
    assert request.tools == ("add",)
    assert request.tool_results[0] == ToolResult("add", "2", "c1")


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("<USER_REQUEST>\nhi\n</USER_REQUEST>", "hi"),
        ("<USER_REQUEST>\n  a\n\n</USER_REQUEST>", "  a\n"),
        (f"<USER_REQUEST>\nhi\n</USER_REQUEST>\n{METADATA}", "hi"),
        ("<USER_REQUEST>\na\n</USER_REQUEST>\nb\n</USER_REQUEST>", "a\n</USER_REQUEST>\nb"),
        ("say <USER_REQUEST>\nhi\n</USER_REQUEST>", "say <USER_REQUEST>\nhi\n</USER_REQUEST>"),
        ("plain", "plain"),
    ],
)
def test_a_prompt_comes_out_of_the_tags_around_it(client: Client, text: str, prompt: str) -> None:
    client.ask(text)

    assert client.model.requests[0].prompt == prompt


def test_a_message_of_the_harness_as_the_user_is_not_a_prompt(model: ScriptedModel) -> None:
    messages = [
        {"role": "user", "content": "<USER_REQUEST>\nhi\n</USER_REQUEST>"},
        {"role": "user", "content": "Error: please try again"},
    ]
    body = json.dumps({"messages": messages}).encode()

    Client("openai", model).send("POST", "/v1/chat/completions", body)

    [request] = model.requests
    assert request.prompt == "hi"
    assert request.messages[-1] == ("user", "Error: please try again")


def test_no_repr_and_no_log_shows_a_key(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    body = json.dumps(client.body("hi")).encode()
    separator = "&" if "?" in client.path() else "?"

    client.send(
        "POST",
        f"{client.path()}{separator}key={SECRET}",
        body,
        {"Authorization": f"Bearer {SECRET}", "X-Goog-Api-Key": SECRET},
    )

    [request] = client.model.requests
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    shown = [request, request.headers, dict(request.headers.items()).keys(), client.model]
    assert SECRET not in repr(shown)
    assert SECRET not in request.path
    assert SECRET not in caplog.text


def test_nothing_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    client.ask()
    client.send("POST", client.path(), b"{no json")

    assert caplog.records == []


def _predicate_that_fails(_: ModelRequest) -> bool:
    raise LookupError("no such rule")


def _text_that_fails(_: ModelRequest) -> str:
    raise LookupError("no such text")


def _text_that_is_none(_: ModelRequest) -> Any:
    return None


def test_a_script_that_fails_is_answered_and_raised_at_the_end(protocol: ProtocolName) -> None:
    model = ScriptedModel().start()
    client = Client(protocol, model)
    model.when(_predicate_that_fails, say("never"))

    answer = client.ask()

    assert answer.status == 500
    assert "no such rule" in answer.json["error"]["message"]
    with pytest.raises(LookupError, match="no such rule"):
        model.close()
    model.close()


def test_a_script_may_fail_the_test(protocol: ProtocolName) -> None:
    def fail(_: ModelRequest) -> str:
        pytest.fail("not this prompt")

    model = ScriptedModel().start()
    model.then(say(fail))

    assert Client(protocol, model).ask().status == 500
    with pytest.raises(pytest.fail.Exception, match="not this prompt"):
        model.close()


def test_a_reply_that_cannot_be_sent_is_raised_at_the_end(protocol: ProtocolName) -> None:
    model = ScriptedModel().start()
    model.then(http_error(500, headers={"Content-Length": "5000"}))

    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        Client(protocol, model).ask()
    with pytest.raises(Exception, match="Content-Length"):
        model.close()


def test_several_failures_of_a_script_are_raised_together(protocol: ProtocolName) -> None:
    model = ScriptedModel().start()
    model.then(say(_text_that_fails), say(_text_that_is_none))
    client = Client(protocol, model)

    statuses = [client.ask().status for _ in range(3)]

    assert statuses == [500, 500, 200]
    with pytest.raises(ExceptionGroup) as caught:
        model.close()
    assert [type(each) for each in caught.value.exceptions] == [LookupError, InvalidArgument]


def test_a_failure_of_the_script_comes_out_of_the_with_statement(protocol: ProtocolName) -> None:
    def use() -> None:
        with ScriptedModel() as model:
            model.then(say(_text_that_fails))
            Client(protocol, model).ask()
            raise AssertionError("the answer is odd")

    with pytest.raises(LookupError, match="no such text") as caught:
        use()

    assert isinstance(caught.value.__context__, AssertionError)


def test_arguments_that_are_not_json_are_an_http_error(
    protocol: ProtocolName,
) -> None:
    model = ScriptedModel().start()
    model.then(call_tool("add", {"a": object()}))

    assert Client(protocol, model).ask().status == 500
    with pytest.raises(TypeError, match="not JSON serializable"):
        model.close()
