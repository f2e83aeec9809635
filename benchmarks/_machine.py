"""What the numbers were measured on."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

__all__ = ["describe_load", "describe_machine"]

_PACKAGES = ("agy-actors", "google-antigravity", "pykka", "xoscar", "thespian", "pyperf")
_QUIET = 0.25  # Of each core; arbitrary: the numbers of a desktop at rest stay below.


def describe_machine() -> dict[str, str]:
    """Return what matters of the machine and of what runs on it."""
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
    """Say how busy the machine is with something else, or return `None` if it is quiet."""
    load, _, _ = os.getloadavg()  # Of the last minute: call it before anything is measured.
    cores = len(os.sched_getaffinity(0))
    if load < cores * _QUIET:
        return None
    return (
        f"the machine was busy with something else when this began: load {load:.1f}, cores {cores}"
    )


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
