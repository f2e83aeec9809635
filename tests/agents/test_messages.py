"""Messages refuse invalid prompts before anything starts."""

from __future__ import annotations

import math
import pickle
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.antigravity import types as sdk
from hypothesis import given
from hypothesis import strategies as st

from agy_actors import AgyActorsError, Chat, InvalidPrompt, IsIdle, Send, WaitForIdle
from agy_actors._actors.message import Lane, takes_turn
from agy_actors._agents.prompts import MAX_BYTES, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from agy_actors import AgentRef

IMAGE = sdk.Image(data=b"x", mime_type="image/png")


@pytest.mark.parametrize("prompt", ["", "  \n", [], ["", " "], None, 5, b"x", [5], {"a": 1}])
@pytest.mark.parametrize("kind", [Chat, Send])
def test_an_invalid_prompt_is_refused(kind: type[Any], prompt: object) -> None:
    with pytest.raises(InvalidPrompt, match="prompt") as caught:
        kind(prompt)

    assert isinstance(caught.value, (AgyActorsError, ValueError))
    assert not caught.value.retryable


@pytest.mark.parametrize("prompt", ["hi", IMAGE, ["look", IMAGE], ("a", "b")])
@pytest.mark.parametrize("kind", [Chat, Send])
def test_text_media_and_sequences_of_them_are_prompts(kind: type[Any], prompt: object) -> None:
    assert kind(prompt).prompt is prompt


def test_a_refused_part_is_named_by_its_position() -> None:
    with pytest.raises(InvalidPrompt, match="part 1 of a prompt is a float"):
        Chat(["a", 1.5])


BIG = sdk.Image(data=bytes(MAX_BYTES // 2 + 1), mime_type="image/png")
EMPTY = sdk.Audio(data=b"", mime_type="audio/wav")
GARBLED = sdk.Document(data=b"ok\xff", mime_type="text/plain")


@pytest.mark.parametrize("kind", [Chat, Send])
@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        (EMPTY, r"a prompt \(audio/wav\) is empty"),
        (["hear", EMPTY], r"part 1 of a prompt \(audio/wav\) is empty"),
        ([GARBLED, "read"], r"part 0 of a prompt \(text/plain\) is not valid UTF-8 at byte 2"),
        (["see", BIG, BIG], r"part 2 of a prompt \(image/png\) .*too large"),
        (["see", Path("x.png")], "part 1 of a prompt is a path; read it with.*from_file"),
        (Path("x.png"), "got a path; read it with.*from_file"),
        (["see", b"x"], "part 1 of a prompt is bytes.*from_bytes"),
        (["see", ["more"]], "part 1 of a prompt is a list"),
        ((text for text in "ab"), "got a generator; make a list of it"),
    ],
)
def test_an_invalid_part_is_named_with_its_problem(
    kind: type[Any], prompt: Any, complaint: str
) -> None:
    with pytest.raises(InvalidPrompt, match=complaint):
        kind(prompt)


def test_a_stream_refuses_an_invalid_chat_in_the_callers_thread(agent: AgentRef) -> None:
    with pytest.raises(InvalidPrompt, match="is empty"):
        agent.stream(Chat(["hear", EMPTY]))


@pytest.mark.parametrize("name", ["timeout", "stall_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, math.nan, -math.inf, "5", True, 10**400, 1j, [1]])
def test_an_invalid_time_is_refused(name: str, seconds: Any) -> None:
    with pytest.raises(InvalidPrompt, match=name):
        Chat("hi", **{name: seconds})


@pytest.mark.parametrize("character", ["a", "\xe9", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("kind", [Chat, Send])
def test_text_that_the_harness_would_cut_is_refused_with_limit_and_length(
    kind: type[Any], character: str
) -> None:
    size = len(character.encode())
    text = character * (MAX_TEXT_BYTES // size)
    length = MAX_TEXT_BYTES // size * size + 1

    assert kind(text).prompt == text
    for prompt in (f"{text}b", [text, "b"], ["b", IMAGE, text]):
        with pytest.raises(InvalidPrompt, match=f"{length} bytes.* at most {MAX_TEXT_BYTES}"):
            kind(prompt)
    with pytest.raises(InvalidPrompt, match="is too long"):
        kind([sdk.SlashCommand(name=sdk.BuiltinSlashCommandName.PLAN), text])


def test_media_are_not_counted_as_text() -> None:
    document = sdk.Document(data=b"x" * (MAX_TEXT_BYTES + 1), mime_type="text/plain")

    assert Chat(["read", document]).prompt


class Greeting(Chat):
    """A subclass."""


def test_numbers_of_other_libraries_are_times() -> None:
    half: Any = Fraction(1, 2)

    assert Chat("hi", timeout=half).timeout == 0.5
    assert Chat("hi", timeout=math.inf).timeout == math.inf
    assert Greeting("hi", timeout=3).timeout == 3.0


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])))
def test_exactly_the_texts_with_a_visible_character_are_prompts(text: str) -> None:
    if any(unicodedata.category(c)[0] in "LMNPS" for c in text.replace("\ufffd", "")):
        assert Chat(text).prompt == text
    else:
        with pytest.raises(InvalidPrompt):
            Chat(text)


def test_turns_wait_for_each_other_and_queries_do_not() -> None:
    assert takes_turn(Chat("hi"))
    assert takes_turn(Send("hi"))
    assert not takes_turn(IsIdle())
    assert WaitForIdle.lane is Lane.CONTROL


def test_messages_are_values() -> None:
    chat = Chat("hi", timeout=1.0)

    assert chat == Chat("hi", timeout=1.0) != Chat("hi")
    assert pickle.loads(pickle.dumps(chat)) == chat
