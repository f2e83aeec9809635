"""What is of use in its own process alone: refs, futures, streams and subscriptions.

Pickling one would fail anyway, at some lock deep inside, with an error that helps nobody.
"""

from __future__ import annotations

import os
from typing import ClassVar, NoReturn, Self, SupportsIndex

from agy_actors._kernel._errors import NotPicklableError

__all__ = ["ProcessBound"]


class ProcessBound:
    """Cannot be pickled, and says what to do instead. A copy of it is the object itself."""

    __slots__ = ()

    _instead_of_pickling: ClassVar[str]
    """What to do instead, for the error."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise NotPicklableError(
            f"{self!r} cannot be pickled, since it is of use in process {os.getpid()} alone;"
            f" {self._instead_of_pickling}"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        # A configuration that has it in a tool, say, is copied with all that it holds.
        return self
