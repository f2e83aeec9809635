"""Tokens: the choices of a run as one line of text, to replay the run."""

from __future__ import annotations

import base64
import binascii
import functools
import importlib.metadata
import zlib
from typing import TYPE_CHECKING

from agy_actors._actors.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["read_token", "write_token"]

_SEVEN = 0x7F
_MORE = 0x80


@functools.cache
def _version() -> str:
    return importlib.metadata.version("agy_actors")


def write_token(choices: Sequence[int], *, seed: int, preempt: bool) -> str:
    """Return a token with the choices of a run, its seed and whether it preempts."""
    numbers = [int(preempt), 2 * seed if seed >= 0 else -2 * seed - 1]
    last = 0
    for position, choice in enumerate(choices):
        if choice:
            numbers += [position - last, choice]
            last = position
    body = b"".join(map(_to_bytes, numbers))
    checked = body + zlib.crc32(body).to_bytes(4, "big")
    return f"{_version()}-{base64.urlsafe_b64encode(checked).decode().rstrip('=')}"


def read_token(token: str) -> tuple[list[int], int, bool]:
    """Return the choices, the seed and whether the run preempts.

    Raises:
        InvalidArgument: it is not a token, or a token of another version.
    """
    version, _, text = token.partition("-")
    if version != _version():
        raise InvalidArgument(
            f"the token {token!r} is from agy_actors {version}, and this is {_version()}: only the"
            " version that made a token can replay it"
        )
    try:
        checked = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        checked = b""
    body, check = checked[:-4], checked[-4:]
    if not body or zlib.crc32(body).to_bytes(4, "big") != check:
        raise InvalidArgument(f"{token!r} is not a complete token of a simulation")
    preempt, seed, *pairs = _from_bytes(body)
    choices: list[int] = []
    position = 0
    for gap, choice in zip(pairs[::2], pairs[1::2], strict=True):
        position += gap
        choices += [0] * (position - len(choices))
        choices.append(choice)
    return choices, seed // 2 if seed % 2 == 0 else -(seed + 1) // 2, bool(preempt)


def _to_bytes(number: int) -> bytes:
    """Encode a non-negative number as LEB128: seven bits in each byte, the lowest first."""
    parts = bytearray()
    while number > _SEVEN:
        parts.append(number & _SEVEN | _MORE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _from_bytes(parts: bytes) -> Iterator[int]:
    number = shift = 0
    for part in parts:
        number |= (part & _SEVEN) << shift
        if part & _MORE:
            shift += 7
        else:
            yield number
            number = shift = 0
