"""Checks prompts before anything is sent."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence

from google.antigravity.types import Audio, Document, Image, SlashCommand, Video

from agy_actors._actors.arguments import find_surrogate
from agy_actors._sdk.errors import InvalidPrompt

__all__ = ["HARNESS_TEXT_BYTES", "MAX_BYTES", "MAX_TEXT_BYTES", "WRAPPING_BYTES", "check_prompt"]

HARNESS_TEXT_BYTES = 192_000
"""How many bytes in UTF-8 of a prompt's text, together with the text that the harness puts around
it, reach the model. The harness replaces the rest by "<truncated N bytes>". Measured with
google-antigravity 0.1.22, on both protocols, with text of 1, 2 and 4 bytes a character: a text of
exactly this length is not cut, one with a further byte is. The texts of several parts count
together, and so does "/name " of a slash command; media do not count. `tests/test_contract.py`
fails if a release has another limit."""

WRAPPING_BYTES = 1_000
"""Bytes that are reserved for the text that the harness puts around a prompt: tags and the local
time, 125 bytes with google-antigravity 0.1.22 if the time zone is UTC. The rest is an arbitrary
margin."""

MAX_TEXT_BYTES = HARNESS_TEXT_BYTES - WRAPPING_BYTES
"""The maximum size of all text of a prompt, in bytes of UTF-8."""

MAX_BYTES = 25_000_000
"""The maximum size of all media of a prompt, in bytes. The harness takes messages of up to 32 MiB,
with the media in base 64, and fails with larger ones ("trajectory converted to zero chat
messages"): measured with google-antigravity 0.1.22. Services may take less."""

_REMOVED = ("Cc", "Cf", "Co")
"""Categories of characters that do not reach the model: control characters, format characters
(zero-width spaces and joiners, byte order mark, soft hyphen, marks of direction) and those of the
private use areas. U+FFFD, U+FFFE, U+FFFF and the corresponding characters of other planes do not
either. The harness puts a space in place of a control character and of U+FFFD, and removes the
others: measured with google-antigravity 0.1.22 for all characters of "Cc" and "Cf".
`tests/test_contract.py` fails if a release changes this."""

_NOTHING = "a prompt must contain more than white space and invisible characters"

_MEDIA = (Image, Document, Audio, Video)
_PARTS = (str, *_MEDIA, SlashCommand)


def check_prompt(prompt: object) -> None:
    """Refuse an invalid prompt.

    Raises:
        InvalidPrompt: names the part, and its problem.
    """
    if isinstance(prompt, str):
        if not _is_shown(prompt):
            raise InvalidPrompt(f"{_NOTHING}, got an empty one")
        _check_text("a prompt", prompt)
        _check_length(len(prompt.encode()))
    elif isinstance(prompt, _PARTS):
        _check_sizes([("a prompt", prompt)])
    elif isinstance(prompt, Sequence) and not isinstance(prompt, bytes | bytearray | memoryview):
        _check_parts(prompt)
    else:
        raise InvalidPrompt(
            f"a prompt must be text, media, or a sequence of these, got {_what(prompt)}"
        )


def _check_parts(parts: Sequence[object]) -> None:
    if not parts:
        raise InvalidPrompt("a prompt must have at least one part, got an empty sequence")
    for position, part in enumerate(parts):
        if not isinstance(part, _PARTS):
            raise InvalidPrompt(
                f"part {position} of a prompt is {_what(part)}; parts are text, images,"
                " documents, audio, video and slash commands of the SDK"
            )
    if all(isinstance(part, str) and not _is_shown(part) for part in parts):
        raise InvalidPrompt(f"{_NOTHING}, got only empty parts")
    _check_sizes([(f"part {position} of a prompt", part) for position, part in enumerate(parts)])


def _is_shown(text: str) -> bool:
    """Return whether a text contains anything for the model besides white space."""
    return not all(map(_is_lost, text))


def _is_lost(character: str) -> bool:
    return (
        character.isspace()
        or character == "\N{REPLACEMENT CHARACTER}"
        or unicodedata.category(character) in _REMOVED
        or ord(character) & 0xFFFE == 0xFFFE  # noqa: PLR2004 (see `_REMOVED`)
    )


def _check_sizes(parts: list[tuple[str, object]]) -> None:
    media = text = 0
    for name, part in parts:
        if isinstance(part, str):
            _check_text(name, part)
            text += len(part.encode())
        elif isinstance(part, SlashCommand):
            text += len(f"/{part.name.value} ")
        elif isinstance(part, _MEDIA):
            media += _check_media(f"{name} ({part.mime_type})", part, media)
    _check_length(text)


def _check_media(what: str, part: Image | Document | Audio | Video, before: int) -> int:
    """Check a media part, and return its size in bytes."""
    if not part.data:
        raise InvalidPrompt(f"{what} is empty")
    if part.mime_type.startswith("text/"):
        _check_encoding(what, part.data)
    if part.description is not None:
        _check_text(f"the description of {what}", part.description)
    size = len(part.data)
    if before + size > MAX_BYTES:
        others = f", with {before} bytes before it," if before else ""
        raise InvalidPrompt(
            f"{what} has {size} bytes{others} and is too large: all media of a"
            f" prompt together may have {MAX_BYTES}"
        )
    return size


def _check_text(what: str, text: str) -> None:
    position = find_surrogate(text)
    if position is not None:
        raise InvalidPrompt(
            f"{what} contains a lone surrogate ({text[position]!a} at position {position}), which"
            " cannot be encoded: replace it, for example with"
            " text.encode(errors='replace').decode()"
        )


def _check_length(size: int) -> None:
    if size > MAX_TEXT_BYTES:
        raise InvalidPrompt(
            f"the text of a prompt has {size} bytes in UTF-8 and is too long: the model gets at"
            f" most {MAX_TEXT_BYTES}; split it, or give it to a tool to read"
        )


def _check_encoding(what: str, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidPrompt(f"{what} is not valid UTF-8 at byte {error.start}") from None


def _what(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes, which need a type: use google.antigravity.from_bytes"
    if isinstance(value, os.PathLike):
        return "a path; read it with google.antigravity.from_file"
    if isinstance(value, Iterable) and not isinstance(value, Sequence | dict):
        return f"a {type(value).__name__}; make a list of it"
    return f"a {type(value).__name__}"
