"""Restores what `carry_over_logging` changes, which lasts for the rest of a process."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from agy_actors._log import _ToLoguru
from agy_actors._sdk.sdk_logging import _redirect

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["restored_logging"]


@contextlib.contextmanager
def restored_logging() -> Iterator[None]:
    """Restore at the end of the block what is carried over of standard logging."""
    pykka_logger = logging.getLogger("pykka")
    level, handlers, minimum = pykka_logger.level, list(pykka_logger.handlers), _redirect.min_level
    yield
    for handler in pykka_logger.handlers[:]:
        if isinstance(handler, _ToLoguru) and handler not in handlers:
            pykka_logger.removeHandler(handler)
    pykka_logger.setLevel(level)
    _redirect.min_level = minimum
