"""Fits the results of tools to what the harness passes on to the model. Pure functions.

What google-antigravity 0.1.22 does with a result, measured with `ScriptedModel` in both protocols:

*   The SDK turns it into JSON. Of the text for the model, the harness keeps the first 48 KiB, and
    reports a wrong number of omitted characters.
*   After an event to the harness of more than about 27 MB, the request to the model contains
    neither the prompt nor the call nor the result, and the model replies to nothing.
*   A number that JSON does not support (NaN) becomes null.
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

from agy_actors._sdk.call_outcomes import capture, describe, valid_text

__all__ = ["MAX_MEDIA", "MAX_RESULT", "fit_error", "fit_result"]

MAX_RESULT = 49_000
"""The largest number of JSON characters of a tool's result or error that the model gets.

The harness keeps 49,152 bytes of its text for the model: the JSON, which is ASCII, the tool's name
(at most 64 characters) and about 40 more. Measured with google-antigravity 0.1.22;
`tests/test_contract.py` fails when that changes."""

MAX_MEDIA = 25_000_000
"""The largest number of bytes of all images, audio, video and documents of one result.

The harness accepts 26 million including the text, but not 28 million. Measured with
google-antigravity 0.1.22, with a margin."""

_MEDIA = (Audio, Document, Image, Video)

_REPLACED = "[Some characters were not valid Unicode, and are replaced by \ufffd.]"


def fit_result(value: Any) -> Any:
    """Return the result of a tool in a form that the SDK sends to the model unchanged.

    Raises:
        TypeError: it cannot be turned into JSON.
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
        note = f"[{len(media)} media left out: more than {MAX_MEDIA} bytes in total]"
        return note if plain is None else _with_note(_fit(_jsonable(plain)), note)
    if plain is None:
        return media
    fitting = _fit(_jsonable(plain))
    # The SDK removes the media again, and the key or list that contained them.
    if isinstance(fitting, dict):
        return {**fitting, "media": media}
    return [*fitting, *media] if isinstance(fitting, list) else {"result": fitting, "media": media}


def fit_error(text: str) -> str:
    """Return the text of an error, cut to what the model gets."""
    return _fit_text(text)


def _checked(value: Any) -> Any:
    """Return a value of the SDK's own types, which the SDK can send, if it is not too large."""
    size = struct_converter.to_struct(value).ByteSize()
    if size > MAX_MEDIA:
        raise ValueError(f"the tool's result has {size} bytes; at most {MAX_MEDIA} can be sent")
    return value


def _without_media(value: Any, media: list[Any]) -> Any:
    """Return a value without the media in it, and add these to `media`.

    As in the SDK, a value that contains only media becomes `None`.
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
    """Convert a value to JSON values, as the SDK does."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    elif hasattr(value, "dict"):
        value = value.dict()
    elif isinstance(value, Iterator):
        value = list(itertools.islice(value, MAX_RESULT))  # It may be infinite.
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
    """Cut a JSON value to what the harness keeps."""
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
    head = text[:MAX_RESULT]  # Each character takes at least one in JSON.
    valid = valid_text(head)
    note = "" if valid == head else f"\n{_REPLACED}"
    if len(text) == len(head) and _length(valid + note) <= MAX_RESULT:
        return valid + note
    longest_note = f"\n... truncated: {len(text)} of {len(text)} characters{note}"
    room = MAX_RESULT - _length(longest_note)
    kept = bisect.bisect_right(range(len(valid)), room, key=lambda end: _length(valid[:end])) - 1
    return f"{valid[:kept]}\n... truncated: {kept} of {len(text)} characters{note}"


def _length(text: str) -> int:
    """Return the length of a text in JSON."""
    return len(json.dumps(text))
