"""Checks of what users pass: numbers of seconds, whole numbers, names and text.

Each returns the argument in the form that the rest of the package works with, or raises an
error that names the argument and says what it must be.
"""

from __future__ import annotations

import math
import numbers
import reprlib
import unicodedata
from typing import TYPE_CHECKING

from agy_actors._kernel._errors import InvalidArgument

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
_repr.maxstring = _repr.maxother = 100  # Characters; arbitrary: an error is to fit on a line.


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
        name: what the argument is called, for the error.
        value: what was passed.
        error: makes the error from its message.
        zero: whether 0 is accepted.
        infinite: whether infinity is accepted. For a timeout it means "no limit".

    Raises:
        Exception: `error`, if the value is not such a number.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except (OverflowError, ValueError, TypeError):  # Larger than any float, for one.
            seconds = math.nan
        if (seconds > 0 or (zero and seconds == 0)) and (infinite or seconds != math.inf):
            return seconds
    bound = "from 0" if zero else "above 0"
    raise error(f"{name} is a number of seconds {bound}, got {shown(value)}")


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
    """Return a whole number as an `int`.

    Any integral number is accepted (`numbers.Integral`: numpy's integers, too), but no `bool`.

    Args:
        name: what the argument is called, for the error.
        value: what was passed.
        least: the smallest number that is accepted.
        error: makes the error from its message.

    Raises:
        Exception: `error`, if the value is not such a number.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if number >= least:
            return number
    raise error(f"{name} is a whole number from {least}, got {shown(value)}")


def check_flag(
    name: str, value: object, *, error: Callable[[str], Exception] = InvalidArgument
) -> bool:
    """Return a `bool`.

    Raises:
        Exception: `error`, if the value is something else.
    """
    if not isinstance(value, bool):
        raise error(f"{name} is True or False, got {shown(value)}")
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

    A keyboard makes one character of an accented letter, and some file systems make two.
    """
    return unicodedata.normalize("NFC", name)


def shown(value: object) -> str:
    """Return a short `repr` of what was passed, for an error."""
    try:
        return _repr.repr(value)
    except Exception:  # noqa: BLE001 (somebody's own `__repr__`, or an int of too many digits)
        return f"a {type(value).__name__}"
