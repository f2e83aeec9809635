"""A Django application with one conversation per user.

    gunicorn --config gunicorn_conf.py web_django:application

The user's name is in the URL. A real application takes it from its login: `request.user`.
"""

import json
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from web_sessions import TIMEOUT, server_sent_events, status_of, users

from agy_actors import AgyActorsError, Chat

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
)


def chat(request: HttpRequest, user: str, *, streamed: bool) -> HttpResponseBase:
    """Return or stream the answer to a JSON object such as {"prompt": "Hello"}."""
    try:
        prompt = Chat(json.loads(request.body).get("prompt"), timeout=TIMEOUT)
        if streamed:
            events = server_sent_events(users()[user].stream(prompt))
            return StreamingHttpResponse(events, content_type="text/event-stream")
        return JsonResponse({"text": users()[user].ask(prompt, timeout=TIMEOUT).text})
    except (AgyActorsError, json.JSONDecodeError) as error:
        return JsonResponse({"error": str(error)}, status=status_of(error))


view = csrf_exempt(chat)  # Its clients are programs without cookies.
urlpatterns = [
    path("users/<str:user>/ask", view, {"streamed": False}),
    path("users/<str:user>/stream", view, {"streamed": True}),
]
application = get_wsgi_application()
