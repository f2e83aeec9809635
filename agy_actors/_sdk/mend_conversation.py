"""Repairs a conversation before it is opened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from agy_actors._sdk.failed_compaction import remove_failed_compaction

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["mend_conversation"]


async def mend_conversation(config: AgentConfig) -> None:
    """Remove a failed compaction that blocks a conversation. It must not be open."""
    database = _find_database(config)
    if database is None:  # Most conversations are new: they need no thread.
        return
    index = await asyncio.to_thread(remove_failed_compaction, database)
    if index is not None:
        logger.info(
            "The compaction of conversation {} had failed: it continues from before step {}",
            config.conversation_id,
            index,
        )


def _find_database(config: AgentConfig) -> Path | None:
    if config.save_dir is None or config.conversation_id is None:
        return None
    database = Path(config.save_dir, f"{config.conversation_id}.db")
    return database if database.exists() else None
