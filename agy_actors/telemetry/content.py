"""The texts of prompts, answers and tool calls, in the form of the semantic conventions.

They are recorded only if the standard environment variable asks for it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["arguments_text", "input_messages", "is_captured", "output_messages"]

_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_ON = ("true", "1", "span_only", "span_and_event")
"""The values that ask for texts in spans, in lower case. `event_only` asks for log records, which
are not written."""


def is_captured() -> bool:
    """Return whether the environment asks for the texts."""
    return os.environ.get(_VARIABLE, "").strip().lower() in _ON


def input_messages(prompt: object, redact: Callable[[str], str]) -> str:
    """Return the value of `gen_ai.input.messages`.

    Args:
        prompt: the prompt. Only its texts are recorded, not its media.
        redact: removes secrets from a text.
    """
    parts = prompt if isinstance(prompt, list | tuple) else [prompt]
    texts = [part for part in parts if isinstance(part, str)]
    return _messages("user", texts, redact)


def output_messages(text: str, finish_reason: str, redact: Callable[[str], str]) -> str:
    """Return the value of `gen_ai.output.messages`."""
    return _messages("assistant", [text], redact, finish_reason=finish_reason)


def arguments_text(arguments: dict[str, Any], redact: Callable[[str], str]) -> str:
    """Return the value of `gen_ai.tool.call.arguments`."""
    return redact(json.dumps(arguments, ensure_ascii=False, default=repr))


def _messages(role: str, texts: list[str], redact: Callable[[str], str], **more: str) -> str:
    parts = [{"type": "text", "content": redact(text)} for text in texts]
    return json.dumps([{"role": role, "parts": parts, **more}], ensure_ascii=False)
