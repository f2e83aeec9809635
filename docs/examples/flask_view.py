"""A Flask application that keeps one conversation per visitor, on any number of workers.

    gunicorn --preload --workers 2 --worker-class gthread --threads 8 flask_view:app

A worker opens a visitor's conversation for one request and closes it afterwards. So any worker can
handle the visitor's next request, and continue the conversation.
"""

import contextlib
import os
import secrets
import threading
import uuid
from collections.abc import Iterator

import tenacity
from flask import Flask, Response, request, session
from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import (
    AgentRef,
    AgyActorsError,
    Chat,
    ConversationInUse,
    Disconnect,
    Supervisor,
    SupervisorRef,
)

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)
app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY") or secrets.token_bytes(32)  # Signs the cookies.

_supervisors: dict[int, SupervisorRef] = {}
_lock = threading.Lock()


def supervisor() -> SupervisorRef:
    """Return the supervisor of this process. It ends with the process.

    It is started at the first request and not at import: gunicorn imports the application and
    then forks its workers, and a forked worker cannot use the agents of its parent.
    """
    with _lock:
        if os.getpid() not in _supervisors:
            folder = os.environ.get("STATE_DIR", "conversations")
            _supervisors[os.getpid()] = Supervisor.start(state_dir=folder)
        return _supervisors[os.getpid()]


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(ConversationInUse),
    wait=tenacity.wait_random(0.02, 0.1),
    stop=tenacity.stop_after_delay(60),
    reraise=True,
)
def open_conversation(visitor: str) -> AgentRef:
    """Open a visitor's conversation, as soon as no other request has it open."""
    own = config.model_copy(update={"conversation_id": visitor})
    return supervisor().create_agent(own)


@contextlib.contextmanager
def conversation(visitor: str) -> Iterator[AgentRef]:
    """Keep a visitor's conversation open for one request."""
    agent = open_conversation(visitor)
    try:
        yield agent
    finally:
        agent.ask(Disconnect())


def visitor() -> str:
    """Return the visitor's id, from a signed cookie that cannot be forged."""
    return str(session.setdefault("visitor", uuid.uuid4().hex))


@app.post("/ask")
def ask() -> tuple[dict[str, str], int]:
    """Return the agent's reply."""
    try:
        with conversation(visitor()) as agent:
            reply = agent.ask(Chat(request.get_data(as_text=True)), timeout=60)
    except AgyActorsError as error:
        return {"error": str(error)}, 503 if error.retryable else 500
    return {"text": reply.text}, 200


@app.post("/stream")
def stream() -> Response:
    """Stream the agent's reply. A client that disconnects cancels the turn."""
    who, prompt = visitor(), Chat(request.get_data(as_text=True))

    def answer() -> Iterator[str]:
        with conversation(who) as agent, agent.stream(prompt) as pieces:
            yield from pieces

    return Response(answer(), mimetype="text/plain")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
