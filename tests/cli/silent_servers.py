"""Servers that do not answer, and the limit for the silence of a command."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST", "accepting_server", "numbers_of_seconds", "unused_port"]

MOST = 5
"""The maximum number of seconds without output of a command."""

_FOR = re.compile(r"for (\d+) s")


@contextmanager
def accepting_server() -> Iterator[str]:
    """Listen on an address that accepts connections and never answers."""
    taken: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken.append(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # Ends `accept`.
            thread.join()
            for connection in taken:
                connection.close()


@contextmanager
def unused_port() -> Iterator[str]:
    """Reserve an address without a listener."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # Without `listen`, connections are refused.
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


def numbers_of_seconds(output: str) -> list[int]:
    """Return the seconds of waiting that a command prints."""
    return [int(seconds) for seconds in _FOR.findall(output)]
