"""What the web applications share: one conversation per user, in any number of processes.

All processes use one folder. A user's conversation moves to the process that gets the user's
request, after the running turn.
"""

import json
import os
import threading
from collections.abc import Iterator

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.types import Text

from agy_actors import (
    ActorDeadError,
    AgyActorsError,
    AskTimeout,
    ChatStream,
    InvalidArgument,
    InvalidPrompt,
    Sessions,
    Supervisor,
    SupervisorRef,
    TurnStalled,
)

TIMEOUT = float(os.environ.get("TIMEOUT", "60"))
"""Seconds for an answer. A stream does not count its wait for other turns of the user."""

HEARTBEAT = float(os.environ.get("HEARTBEAT", "5"))
"""Seconds without a text after which a stream sends a comment."""

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)


def start() -> tuple[SupervisorRef, Sessions]:
    """Start a supervisor, and the sessions of the users."""
    supervisor = Supervisor.start(state_dir=os.environ.get("STATE_DIR", "conversations"))
    try:
        capacity = int(os.environ.get("CAPACITY", "1000"))  # Turns that wait, of all users.
        return supervisor, supervisor.create_sessions(config, "users", capacity=capacity)
    except BaseException:
        supervisor.stop()
        raise


_started: list[tuple[SupervisorRef, Sessions]] = []
_lock = threading.Lock()


def users() -> Sessions:
    """Return the sessions of this process.

    They are started at the first request and not at import: gunicorn may import the application
    and then fork its workers, and a worker cannot use agents of its parent.
    """
    with _lock:
        if not _started:
            _started.append(start())
        return _started[0][1]


def shut_down() -> None:
    """Finish the turns that run or wait, and close the conversations of this process."""
    for supervisor, _ in _started:
        supervisor.shutdown(drain=True)


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error."""
    match error:
        case TimeoutError() | TurnStalled():
            return 504
        case InvalidArgument() | InvalidPrompt() | json.JSONDecodeError():
            return 400
        case AgyActorsError(retryable=True) | ActorDeadError():
            return 503  # For example MailboxFull, or this process ends.
    return 500


def server_sent(text: str, event: str = "message") -> str:
    """Return a server-sent event."""
    return f"event: {event}\ndata: {json.dumps(text)}\n\n"


def server_sent_events(stream: ChatStream) -> Iterator[str]:
    """Yield an answer as it comes.

    If the client disconnects, the server closes this generator, which cancels the turn. A WSGI
    server notices that only when it sends something. So this yields comments, which clients
    ignore, while the model sends nothing.
    """
    with stream:
        pieces = stream.events(timeout=HEARTBEAT)
        while True:
            try:
                piece = next(pieces, None)
            except AskTimeout:
                yield ": waiting\n\n"
            except AgyActorsError as error:
                yield server_sent(str(error), "error")
                return
            else:
                if piece is None:
                    yield server_sent("", "end")
                    return
                if isinstance(piece, Text):
                    yield server_sent(piece.text)
