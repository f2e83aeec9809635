"""`ProcessBound`: objects that are useful only in their process, such as refs and futures.

Pickling one would fail anyway, at an inner lock, with an error that does not help.
"""

from __future__ import annotations

import os
from typing import ClassVar, NoReturn, Self, SupportsIndex

from agy_actors._actors.errors import NotPicklableError

__all__ = ["ProcessBound"]


class ProcessBound:
    """It cannot be pickled, and the error says what to do instead. A copy is the object itself."""

    __slots__ = ()

    _instead_of_pickling: ClassVar[str]
    """What to do instead, for the error."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise NotPicklableError(
            f"{self!r} cannot be pickled, since it is useful only in process {os.getpid()};"
            f" {self._instead_of_pickling}"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        # A configuration may hold it, in a tool for example, and is copied deeply.
        return self
