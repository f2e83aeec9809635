"""`OwnerNames`: keeps the number of the names of supervisors, pools and sessions bounded.

A program may create a supervisor or a pool for each request. Each name would be a label of its own,
and the store of the metrics would grow for ever.
"""

from __future__ import annotations

import re

__all__ = ["OTHER", "OwnerNames"]

OTHER = "other"
"""The label of all further names."""

_MAX_NAMES = 100
"""How many names have a label of their own. Arbitrary: more than programs name by hand."""

_GENERATED = re.compile(r"(supervisor|pool|sessions)-\d+")
"""Names that agy_actors generates. They have a common label for each kind."""


class OwnerNames:
    """Returns labels for the names of supervisors, pools and sessions. Thread-safe.

    Two threads with new names at the same time may exceed the bound by one.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def label(self, name: str) -> str:
        """Return the label for a name: the same for the same name."""
        known = self._known.get(name)
        if known is not None:
            return known
        if (generated := _GENERATED.fullmatch(name)) is not None:
            return generated[1]
        if len(self._known) >= _MAX_NAMES:
            return OTHER
        return self._known.setdefault(name, name)
