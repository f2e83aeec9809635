"""What a model can be asked, checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from google.antigravity.types import Audio, Document, Image, SlashCommand, Video

from agy_actors._agent._errors import InvalidPrompt

__all__ = ["MOST_BYTES", "check_prompt"]

MOST_BYTES = 25_000_000
"""Bytes of all media of a prompt together. The harness takes messages of up to 32 MiB, with
the media in base 64, and fails with what is larger ("trajectory converted to zero chat
messages"): measured with google-antigravity 0.1.22. Services may take less."""

_MEDIA = (Image, Document, Audio, Video)
_PARTS = (str, *_MEDIA, SlashCommand)


def check_prompt(prompt: object) -> None:
    """Refuse what no model can be asked.

    Raises:
        InvalidPrompt: names the part, and what is wrong with it.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidPrompt("a prompt must hold more than white space, got an empty one")
    elif isinstance(prompt, _PARTS):
        _check_sizes([("a prompt", prompt)])
    elif isinstance(prompt, Sequence) and not isinstance(prompt, bytes | bytearray | memoryview):
        _check_parts(prompt)
    else:
        raise InvalidPrompt(f"a prompt is text, media, or a sequence of these, got {_what(prompt)}")


def _check_parts(parts: Sequence[object]) -> None:
    if not parts:
        raise InvalidPrompt("a prompt must have at least one part, got an empty sequence")
    for position, part in enumerate(parts):
        if not isinstance(part, _PARTS):
            raise InvalidPrompt(
                f"part {position} of a prompt is {_what(part)}; parts are text, images,"
                " documents, audio, video and slash commands of the SDK"
            )
    if all(isinstance(part, str) and not part.strip() for part in parts):
        raise InvalidPrompt("a prompt must hold more than white space, got only empty parts")
    _check_sizes([(f"part {position} of a prompt", part) for position, part in enumerate(parts)])


def _check_sizes(parts: list[tuple[str, object]]) -> None:
    total = 0
    for name, part in parts:
        if not isinstance(part, _MEDIA):
            continue
        what = f"{name} ({part.mime_type})"
        if not part.data:
            raise InvalidPrompt(f"{what} is empty")
        if part.mime_type.startswith("text/"):
            _check_text(what, part.data)
        total += len(part.data)
        if total > MOST_BYTES:
            before = "" if total == len(part.data) else ", with what comes before it,"
            raise InvalidPrompt(
                f"{what} has {len(part.data)} bytes{before} and is too large: all media of a"
                f" prompt together may have {MOST_BYTES}"
            )


def _check_text(what: str, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidPrompt(
            f"{what} cannot be read: it is no UTF-8 from byte {error.start} on"
        ) from None


def _what(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes, which need a type: use google.antigravity.from_bytes"
    if isinstance(value, os.PathLike):
        return "a path; read it with google.antigravity.from_file"
    if isinstance(value, Iterable) and not isinstance(value, Sequence | dict):
        return f"a {type(value).__name__}; make a list of it"
    return f"a {type(value).__name__}"
