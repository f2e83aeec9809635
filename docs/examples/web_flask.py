"""A Flask application with one conversation per user.

    gunicorn --config gunicorn_conf.py web_flask:app

The user's name is in the URL. A real application takes it from its login.
"""

from flask import Flask, Response, request
from web_sessions import TIMEOUT, server_sent_events, status_of, users

from agy_actors import AgyActorsError, Chat

app = Flask(__name__)


def prompt() -> Chat:
    """Return the prompt of the request, a JSON object such as {"prompt": "Hello"}."""
    return Chat(request.get_json().get("prompt"), timeout=TIMEOUT)


@app.post("/users/<user>/ask")
def ask(user: str) -> dict[str, str]:
    """Return the answer."""
    return {"text": users()[user].ask(prompt(), timeout=TIMEOUT).text}


@app.post("/users/<user>/stream")
def stream(user: str) -> Response:
    """Stream the answer."""
    events = server_sent_events(users()[user].stream(prompt()))
    return Response(events, mimetype="text/event-stream")


@app.errorhandler(AgyActorsError)
def report(error: AgyActorsError) -> tuple[dict[str, str], int]:
    """Return what happened, with its status."""
    return {"error": str(error)}, status_of(error)
