"""The format of a file of results, and how to recognise its lines.

One JSON object per line:

    {"id": "…", "index": 0, "prompt": "…", "text": "…",
     "structured": {…} | null,                     (only if the answers have a schema)
     "model": "…", "time": "2026-01-31T23:59:59.123+00:00", "usage": {…} | null,
     "agent": "…", "seconds": 1.2, "attempts": 1,
     "error": null | {"type": "…", "message": "…", "retryable": true},
     "extra": {…}}                                 (only if the prompt has further fields)

Records of earlier versions have no ``time``. Those of versions before 0.1 have no ``model``, and
their id of a prompt without an id is its line, ``line-N``. Today the id is made from the prompt's
text, so that an added or removed line in the file of prompts changes no other id.

A line is recognised as a record if it has all of these fields, in any order, with these types and
no others. An incomplete line is recognised if it starts as a record does, field by field.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agy_actors.cli.prompts import PromptLine

__all__ = [
    "REHEARSAL",
    "Failure",
    "Record",
    "Result",
    "begins_record",
    "decode_record",
    "encode_record",
    "parse_record",
    "text_id",
]

REHEARSAL = "rehearsal"
"""The model in the records of a rehearsal. Such records are not answers."""

_REHEARSED = "(rehearsal) No model was asked: "
"""The start of a rehearsal's answer, also in versions whose records have no model."""

_NONE = type(None)
_REQUIRED: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "index": (int,),
    "prompt": (str,),
    "text": (str, _NONE),
    "usage": (dict, _NONE),
    "agent": (str,),
    "seconds": (float, int),
    "attempts": (int,),
    "error": (dict, _NONE),
}
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "structured": (dict, _NONE),
    "model": (str,),
    "time": (str,),
    "extra": (dict,),
}
_FIELDS = {**_REQUIRED, **_OPTIONAL}
_ERROR_FIELDS = {"type", "message", "retryable"}
_FIRST = ("id", "index")  # Each record starts with these fields, in this order.
_STARTS: dict[type, str] = {str: '"', dict: "{", int: "-0123456789", float: "-0", _NONE: "n"}


@dataclass(frozen=True)
class Failure:
    """The error of a prompt that was not answered."""

    type: str
    """The name of the error's class."""

    message: str

    retryable: bool
    """Whether the same prompt may succeed if it is asked again."""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an error; an error without `retryable` is not retryable."""
        retryable = bool(getattr(error, "retryable", False))
        return cls(type(error).__name__, str(error), retryable)


@dataclass(frozen=True)
class Result:
    """The outcome of one prompt."""

    prompt: PromptLine

    text: str | None
    """The answer; with an error, the part of the answer that arrived, if any."""

    agent: str
    """Which of the prompts that are asked at once it was: ``agent-1`` to ``agent-N``."""

    seconds: float
    """Seconds from asking the prompt to the answer or the error."""

    attempts: int = 1
    """How often the prompt was asked in this run."""

    usage: Mapping[str, Any] | None = None
    """The tokens used, as the model reported them."""

    error: Failure | None = None

    model: str = ""
    """The name of the model, or `REHEARSAL`."""

    time: str = ""
    """When the answer or the error came: ISO 8601, in UTC."""

    has_schema: bool = False
    """Whether the answers have a schema."""

    structured: Mapping[str, Any] | None = None
    """The data of the answer, if the answers have a schema."""

    def to_line(self) -> bytes:
        """Encode the result as one line, with its line end."""
        prompt, error = self.prompt, self.error
        record: dict[str, Any] = {
            "id": prompt.id,  # First `id`, then `index`: see `begins_record`.
            "index": prompt.index,
            "prompt": prompt.prompt,
            "text": self.text,
            "structured": None if self.structured is None else dict(self.structured),
            "model": self.model,
            "time": self.time,
            "usage": None if self.usage is None else dict(self.usage),
            "agent": self.agent,
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "error": None
            if error is None
            else {"type": error.type, "message": error.message, "retryable": error.retryable},
        }
        if prompt.extra:
            record["extra"] = dict(prompt.extra)
        if not self.has_schema:
            del record["structured"]
        return encode_record(record)


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Encode a record as one line, with its line end."""
    text = json.dumps(record, ensure_ascii=False)
    # A model may produce a lone surrogate, which UTF-8 cannot encode. `backslashreplace` writes it
    # as JSON's escape.
    return text.encode("utf-8", "backslashreplace") + b"\n"


class Record(NamedTuple):
    """The part of an earlier record that a run needs."""

    id: str
    prompt: str

    model: str | None
    """`None` in records of earlier versions, except a rehearsal's."""

    failed: bool

    old: bool
    """Whether an earlier version wrote the record (it has no model)."""


def text_id(prompt: str) -> str:
    """Return an id for a prompt's text; it does not depend on the prompt's place in the file."""
    # 64 bits: two of a million texts collide with a probability of 3 in 100 million.
    return blake2b(prompt.encode(), digest_size=8).hexdigest()


def decode_record(line: bytes) -> dict[str, Any] | None:
    """Decode a line. Returns `None` if it is not a record."""
    try:
        record = from_json(line, cache_strings="keys")
    except ValueError:
        try:
            # Unlike `from_json`, `json` accepts a lone surrogate, which a model may produce.
            record = json.loads(line.decode())
        except (ValueError, RecursionError):
            return None
    if type(record) is not dict or not _has_record_fields(record):
        return None
    return record


def parse_record(line: bytes) -> Record | None:
    """Parse a line. Returns `None` if it is not a record."""
    record = decode_record(line)
    if record is None:
        return None
    model = record.get("model")
    if model is None and (record["text"] or "").startswith(_REHEARSED):
        model = REHEARSAL
    return Record(
        record["id"], record["prompt"], model, record["error"] is not None, "model" not in record
    )


def _has_record_fields(record: dict[str, Any]) -> bool:
    if not _REQUIRED.keys() <= record.keys():
        return False
    for name, value in record.items():
        if type(value) not in _FIELDS.get(name, ()):
            return False
    error = record["error"]
    return error is None or error.keys() == _ERROR_FIELDS


def begins_record(half: bytes, *, after_records: bool) -> bool:
    """Whether an incomplete line is the start of a record.

    Args:
        half: the bytes, from the start of the line.
        after_records: whether records precede the line. If not, the line must contain more than
            the first field, because another program's file may start with the same field.
    """
    try:
        # The last character may be incomplete, too.
        text = codecs.getincrementaldecoder("utf-8")().decode(half)
    except ValueError:
        return False
    decoder = json.JSONDecoder()
    enough = 0 if after_records else len(_FIRST)
    position, seen, left = 0, 0, dict(_FIELDS)
    while True:
        names = _FIRST[seen : seen + 1] or tuple(left)
        leads = {f'{", " if seen else "{"}"{name}": ': name for name in names}
        lead = next((lead for lead in leads if text.startswith(lead, position)), None)
        if lead is None:
            rest = text[position:]
            return seen >= enough and (rest == "." or any(lead.startswith(rest) for lead in leads))
        position += len(lead)
        types = left.pop(leads[lead])
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            rest = text[position : position + 1]
            return seen >= enough and any(rest in _STARTS[kind] for kind in types)
        if type(value) not in types:
            return False
        seen += 1
