"""Describes the machine on which the numbers were measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

__all__ = ["describe_load", "describe_machine"]

_PACKAGES = ("agy-actors", "google-antigravity", "pykka", "pyperf")
_QUIET = 0.25  # Per core. Arbitrary: an idle desktop stays below it.


def describe_machine() -> dict[str, str]:
    """Return the relevant properties of the machine and its software."""
    cores = len(os.sched_getaffinity(0))
    facts = {
        "Processor": f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    return facts | {name: _version(name) for name in _PACKAGES}


def describe_load() -> str | None:
    """Return how busy the machine is with other programs, or `None` if it is idle."""
    # The load of the last minute, so call this before the measurements.
    load, _, _ = os.getloadavg()
    cores = len(os.sched_getaffinity(0))
    if load < cores * _QUIET:
        return None
    return f"the machine was busy with other programs at the start: load {load:.1f}, cores {cores}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
