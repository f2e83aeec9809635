"""Measures the memory and the descriptors of a program and all its children."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Footprint", "footprint"]


class Footprint(NamedTuple):
    """The resources in use."""

    memory: int
    """Bytes, as the proportional set size: a shared page is counted once."""
    descriptors: int
    """The number for the program itself, which its limit of open files bounds."""
    processes: int


def footprint() -> Footprint:
    """Measure this process and all below it."""
    pids = [os.getpid(), *_children()]
    # Opening the folder takes another one, which was not there before.
    descriptors = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 (no objects wanted)
    return Footprint(sum(map(_memory, pids)), descriptors, len(pids))


def _children() -> Iterator[int]:
    for child in psutil.Process().children(recursive=True):
        yield child.pid


def _memory(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Pss":
                return int(value.split()[0]) * 1024
    return 0  # It has just ended.
