"""Makes of a tool's result what the harness passes on to the model. Pure functions.

What google-antigravity 0.1.22 does with a result, measured with `ScriptedModel`, on both
protocols:

*   It turns it into JSON. Of the text that the model gets for the call, the harness keeps
    the first 48 KiB, and names a wrong number for what it left out.
*   An event to the harness of more than about 27 MB makes the prompt, the call and the
    result vanish from what the model is sent, and the model answers to nothing.
*   A number that JSON does not have (NaN) becomes null.
"""

from __future__ import annotations

import bisect
import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic_core
from google.antigravity.connections.local import struct_converter
from google.antigravity.types import Audio, Document, Image, Video

from agy_actors._harness._outcomes import capture, describe, valid_text

__all__ = ["MAX_MEDIA", "MAX_RESULT", "fit_error", "fit_result"]

MAX_RESULT = 49_000
"""Characters of JSON that the model gets of a tool's result, or of its error.

The harness keeps 49,152 bytes of the text that it makes of the result: the JSON, which is
ASCII, the tool's name (64 characters at most) and about 40 more. Measured on
google-antigravity 0.1.22; `tests/test_contract.py` fails when that changes."""

MAX_MEDIA = 25_000_000
"""Bytes of all images, audio, video and documents of one result.

The harness takes 26 million together with the text, and no 28 million. Measured on
google-antigravity 0.1.22, with a margin."""

_MEDIA = (Audio, Document, Image, Video)

_REPLACED = "[Some of it was no valid Unicode, and is replaced by \ufffd.]"


def fit_result(value: Any) -> Any:
    """Return what the SDK sends to the model as it is, of what a tool returned.

    Raises:
        TypeError: no JSON can be made of it.
    """
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        kind = "an async generator" if inspect.isasyncgen(value) else "a generator"
        raise TypeError(f"the tool returned {kind}; it must return the values themselves")
    if capture(struct_converter.has_proto_extensions, value).value:
        return _checked(value)
    media: list[Any] = []
    plain = capture(_without_media, value, media).value
    if not media:
        return _fit(_jsonable(value))
    if sum(len(item.data) for item in media) > MAX_MEDIA:
        note = f"[{len(media)} media left out: more than {MAX_MEDIA} bytes in all]"
        return note if plain is None else _with_note(_fit(_jsonable(plain)), note)
    if plain is None:
        return media
    fitting = _fit(_jsonable(plain))
    # The SDK takes the media out again, and the place where they were.
    if isinstance(fitting, dict):
        return {**fitting, "media": media}
    return [*fitting, *media] if isinstance(fitting, list) else {"result": fitting, "media": media}


def fit_error(text: str) -> str:
    """Return as much of an error's text as the model gets."""
    return _fit_text(text)


def _checked(value: Any) -> Any:
    """Return a value of the SDK's own types, which it knows how to send, if it fits."""
    size = struct_converter.to_struct(value).ByteSize()
    if size > MAX_MEDIA:
        raise ValueError(f"the tool's result has {size} bytes; at most {MAX_MEDIA} can be sent")
    return value


def _without_media(value: Any, media: list[Any]) -> Any:
    """Return a value without the media in it, which are added to `media`.

    As the SDK: what holds nothing else is `None`.
    """
    if isinstance(value, _MEDIA):
        media.append(value)
        return None
    if isinstance(value, Mapping):
        kept = ((key, _without_media(item, media)) for key, item in value.items())
        return {key: item for key, item in kept if item is not None} or None
    if isinstance(value, list | tuple):
        items = (_without_media(item, media) for item in value)
        return [item for item in items if item is not None] or None
    return value


def _jsonable(value: Any) -> Any:
    """Return what JSON has for a value, as the SDK does."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    elif hasattr(value, "dict"):
        value = value.dict()
    elif isinstance(value, Iterator):
        value = list(itertools.islice(value, MAX_RESULT))  # It may have no end.
    if isinstance(value, str):
        return str(value)
    converted = capture(
        pydantic_core.to_jsonable_python,
        value,
        by_alias=False,
        fallback=str,
    )
    if converted.error is None:
        converted = capture(_with_numbers_of_json, converted.value)
    if converted.error is None:
        return converted.value
    text = capture(str, value)
    if text.error is None:
        return text.value
    raise TypeError(
        f"the tool returned what cannot be turned into JSON: {describe(text.error)}"
    ) from None


def _with_numbers_of_json(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return json.loads(json.dumps(value), parse_constant=str)  # "NaN", "Infinity"
    return value


def _fit(value: Any) -> Any:
    """Return what the harness keeps of a value that JSON has."""
    if isinstance(value, str):
        return _fit_text(value)
    text = json.dumps(value)
    if len(text) > MAX_RESULT:
        return _fit_text(json.dumps(value, ensure_ascii=False))
    if "\\ud" not in text:
        return value
    text = json.dumps(value, ensure_ascii=False)
    valid = valid_text(text)
    return value if valid == text else _with_note(json.loads(valid), _REPLACED)


def _with_note(value: Any, note: str) -> Any:
    return f"{value}\n{note}" if isinstance(value, str) else {"result": value, "note": note}


def _fit_text(text: str) -> str:
    head = text[:MAX_RESULT]  # No character takes less than one in JSON.
    valid = valid_text(head)
    note = "" if valid == head else f"\n{_REPLACED}"
    if len(text) == len(head) and _length(valid + note) <= MAX_RESULT:
        return valid + note
    longest_note = f"\n... truncated: {len(text)} of {len(text)} characters{note}"
    room = MAX_RESULT - _length(longest_note)
    kept = bisect.bisect_right(range(len(valid)), room, key=lambda end: _length(valid[:end])) - 1
    return f"{valid[:kept]}\n... truncated: {kept} of {len(text)} characters{note}"


def _length(text: str) -> int:
    """Return how long a text is in JSON."""
    return len(json.dumps(text))
