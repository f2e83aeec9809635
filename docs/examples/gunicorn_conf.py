"""The configuration of gunicorn for web_flask.py and web_django.py."""

worker_class = "gthread"
workers = 4
threads = 16
graceful_timeout = 70  # Seconds: more than an answer takes.


def worker_exit(_arbiter: object, _worker: object) -> None:
    """End the agents of a worker, after its last answer."""
    import web_sessions  # noqa: PLC0415 (a reload is to import it again, in the new workers)

    web_sessions.shut_down()
