"""Simplifies the harness's error texts: removes wrappers and repetition.

The harness of google-antigravity 0.1.22 passes an error through several layers. Each adds a prefix,
some quote it in a sentence, and one repeats it, as in
`There was a network issue. ("doRequest: connection refused: doRequest: connection refused")`.
"""

from __future__ import annotations

import re

__all__ = ["RETRIED_STEP", "shorten", "tidy"]

RETRIED_STEP = "Encountered retryable error from model provider: "
"""The start of the text of an ERROR step after which the harness repeats the request."""

_LAYERS = re.compile(
    rf"(?:{RETRIED_STEP}"
    r"|Encountered retryable \w+ error\. retrying in \S+\. "
    r"|Error \([^)]*\): "
    r"|agent executor error: |Agent run failed: |executor run failed: )+"
)
_QUOTED = re.compile(r'[^"]*\("(.*)"\)\s*', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\nt])')
_ESCAPES = {"n": "\n", "t": "\t"}
_LENGTH = 4000
"""The largest number of characters of a service's message. Arbitrary: the longest known messages,
about a quota with details, have some 2,000, and a page of HTML should not fill the screen."""


def tidy(text: str) -> str:
    """Return an error text without the words of the layers, and without repetition."""
    text = _without_layers(text)
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        text = _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), quoted[1])
        text = _without_layers(text)
    return _without_repetition(text)


def shorten(text: str, length: int = _LENGTH) -> str:
    """Return a text as one line, cut to `length` characters plus an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length]} …"


def _without_layers(text: str) -> str:
    found = _LAYERS.match(text)
    return text if found is None else text[found.end() :]


def _without_repetition(text: str) -> str:
    """Remove the part after a colon while it repeats the part before the colon."""
    if len(text) > 2 * _LENGTH:  # It would take long, and the text is cut later.
        return text
    colon = text.find(": ", len(text) // 3)
    while colon >= 0:
        last = text[colon + 2 :]
        if last and text.endswith(last, 0, colon):
            text = text[:colon]
            colon = len(text) // 3 - 1
        colon = text.find(": ", colon + 1)
    return text
