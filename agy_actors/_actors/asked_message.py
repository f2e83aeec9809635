"""The type of `ReplyFuture.message`: that of the message which the reply says it answers.

Only type checkers use it. A reply class names the type in `_answers`; otherwise it is unknown.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, overload

__all__ = ["AskedMessage"]

M_co = TypeVar("M_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class _Answer(Protocol[M_co]):
    @property
    def _answers(self) -> M_co: ...


class _FutureOf(Protocol[R_co]):
    def get(self, *, timeout: float | None = None) -> R_co: ...


class AskedMessage(property):
    """The property `message`, typed by the reply."""

    @overload  # type: ignore[override]
    def __get__(self, future: _FutureOf[_Answer[M_co]], owner: type | None = None, /) -> M_co: ...

    @overload
    def __get__(self, future: object, owner: type | None = None, /) -> object: ...

    def __get__(self, future: object, owner: type | None = None, /) -> object:
        raise NotImplementedError
