"""The files of a conversation, as a harness and an agent leave them."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

from agy_actors._sdk.packed_conversation import PackedConversation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ID = "0123456789abcdef" * 2

LABEL: Mapping[str, Any] = {"key": "ada", "turns": 5}

TIME = 1_000_000_000.25
"""When the files of the agent were last changed."""


class Files:
    """The folders of one conversation, and what must be in them."""

    def __init__(self, folder: Path) -> None:
        self.save_dir = folder / "databases"
        self.app_data_dir = folder / "data"
        self.brain = self.app_data_dir / "brain" / ID
        self.database = self.save_dir / f"{ID}.db"
        self.log = self.save_dir / f"{ID}.db-wal"
        self.archive = self.save_dir / f"{ID}.tar.xz"
        self.label = self.save_dir / f"{ID}.label.json"
        self.content: dict[Path, bytes] = {}

    def packed(self, label: Mapping[str, Any] = LABEL) -> PackedConversation:
        return PackedConversation(
            ID, self.save_dir, self.app_data_dir, lambda: label, "session 'ada'"
        )

    def create(self, *, log: bool = False) -> None:
        """Write what a session has on the disk."""
        self.packed().unpack()
        draw = random.Random(0)
        self._write(self.database, draw.randbytes(3000))
        if log:
            self._write(self.log, draw.randbytes(500))
        self._write(self.brain / "logs" / "transcript.jsonl", b"{}\n" * 20)
        self._write(self.brain / "tool.sh", b"#!/bin/sh\n")
        self._write(self.brain / "notes" / "été.md", draw.randbytes(100))
        (self.brain / "tool.sh").chmod(0o755)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (TIME, TIME))
        self.content[path] = content

    def pack(self, seconds: float = 0.0) -> bool:
        return asyncio.run(self.packed().pack(seconds))

    def there(self) -> dict[Path, bytes]:
        """Return the content of all files, except the label."""
        folders = self.save_dir, self.app_data_dir
        return {
            path: path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and path != self.label
        }

    def names(self) -> set[str]:
        """Return the names of the files in the folder of the databases."""
        return {path.name for path in self.save_dir.iterdir()}
