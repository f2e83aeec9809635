"""Checks of users' arguments: numbers of seconds, integers, names and text.

Each returns the argument in the form that the rest of the package works with, or raises an
error that names the argument and states what it must be.
"""

from __future__ import annotations

import math
import numbers
import reprlib
import unicodedata
from typing import TYPE_CHECKING

from agy_actors._actors.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "check_flag",
    "check_integer",
    "check_optional_seconds",
    "check_seconds",
    "find_surrogate",
    "normalize",
    "shown",
]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100  # Characters. Arbitrary: an error should fit on a line.


def check_seconds(
    name: str,
    value: object,
    *,
    error: Callable[[str], Exception] = InvalidArgument,
    zero: bool = False,
    infinite: bool = True,
) -> float:
    """Return a number of seconds as a float.

    Any real number is accepted (`numbers.Real`: numpy's numbers and fractions, too), but
    no `bool`.

    Args:
        name: the argument's name, for the error.
        value: the argument.
        error: makes the error from its message.
        zero: whether 0 is accepted.
        infinite: whether infinity is accepted. For a timeout it means "no limit".

    Raises:
        Exception: `error`, if the value is not such a number.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except (OverflowError, ValueError, TypeError):  # Larger than any float, for example.
            seconds = math.nan
        if (seconds > 0 or (zero and seconds == 0)) and (infinite or seconds != math.inf):
            return seconds
    bound = ">= 0" if zero else "> 0"
    raise error(f"{name} must be a number of seconds {bound}, got {shown(value)}")


def check_optional_seconds(
    name: str,
    value: object,
    *,
    error: Callable[[str], Exception] = InvalidArgument,
    zero: bool = False,
) -> float | None:
    """Return a number of seconds as a float, or `None` for `None`. See `check_seconds`."""
    return None if value is None else check_seconds(name, value, error=error, zero=zero)


def check_integer(
    name: str,
    value: object,
    *,
    least: int,
    error: Callable[[str], Exception] = InvalidArgument,
) -> int:
    """Return an integer as an `int`.

    Any integral number is accepted (`numbers.Integral`: numpy's integers, too), but no `bool`.

    Args:
        name: the argument's name, for the error.
        value: the argument.
        least: the smallest number that is accepted.
        error: makes the error from its message.

    Raises:
        Exception: `error`, if the value is not such a number.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if number >= least:
            return number
    raise error(f"{name} must be an integer >= {least}, got {shown(value)}")


def check_flag(
    name: str, value: object, *, error: Callable[[str], Exception] = InvalidArgument
) -> bool:
    """Return a `bool`.

    Raises:
        Exception: `error`, if the value is something else.
    """
    if not isinstance(value, bool):
        raise error(f"{name} must be True or False, got {shown(value)}")
    return value


def find_surrogate(text: str) -> int | None:
    """Return the position of the first lone surrogate in a text, or `None`.

    Such a character (U+D800 to U+DFFF) stands for no character and cannot be encoded. It
    comes from file names and bytes that were decoded with `surrogateescape`, and from JSON.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def normalize(name: str) -> str:
    """Return a name in Unicode's normal form C, in which equal names are equal texts.

    Keyboards produce one character for an accented letter, some file systems two.
    """
    return unicodedata.normalize("NFC", name)


def shown(value: object) -> str:
    """Return a short `repr` of an argument, for an error."""
    try:
        return _repr.repr(value)
    except Exception:  # noqa: BLE001 (a user's `__repr__`, or an int of too many digits)
        return f"a {type(value).__name__}"
