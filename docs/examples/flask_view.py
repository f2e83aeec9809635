"""A Flask application: its views, on whatever thread they run, ask one pool of agents."""

import os

from flask import Flask, Response, request
from google.antigravity import LocalOpenAIAgentConfig

from agy_actors import AgyActorsError, Chat, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)
supervisor = Supervisor.start()  # Ended with the interpreter.
pool = supervisor.create_pool(config, size=2)
app = Flask(__name__)


@app.post("/ask")
def ask() -> tuple[dict[str, str], int]:
    """Answer when the agent has."""
    try:
        reply = pool.ask(Chat(request.get_data(as_text=True)), timeout=60)
    except AgyActorsError as error:
        return {"error": str(error)}, 503 if error.retryable else 500
    return {"text": reply.text}, 200


@app.post("/stream")
def stream() -> Response:
    """Answer as the agent does. A client that goes away cancels the turn."""
    answer = pool.stream(Chat(request.get_data(as_text=True)))
    return Response(iter(answer), mimetype="text/plain")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
