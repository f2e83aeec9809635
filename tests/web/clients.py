"""A client of the documented web applications."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Self

from tests.web.servers import LONG_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EventStream", "ask", "open_stream"]


def ask(port: int, user: str, prompt: str) -> tuple[int, str]:
    """Ask for an answer. Returns the status, and the text or the error."""
    with contextlib.closing(_post(port, user, "ask", prompt)) as response:
        body = json.loads(response.read())
    return response.status, str(body["text" if "text" in body else "error"])


def open_stream(port: int, user: str, prompt: str) -> EventStream:
    """Ask for a streamed answer."""
    return EventStream(_post(port, user, "stream", prompt))


class EventStream:
    """Server-sent events as they come. The end of a `with` block disconnects."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status = response.status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def read(self) -> tuple[str, str]:
        """Wait for the next event. Returns its kind and its text."""
        fields: dict[str, str] = {}
        for line in self._response:
            name, _, value = line.decode().strip().partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return fields["event"], json.loads(fields["data"])
        return "closed", ""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Read the events to the end."""
        while (event := self.read())[0] != "closed":
            yield event


def _post(port: int, user: str, path: str, prompt: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG_PATIENCE)
    try:
        connection.request(
            "POST",
            f"/users/{user}/{path}",
            json.dumps({"prompt": prompt}),
            {"Content-Type": "application/json", "Connection": "close"},
        )
        return connection.getresponse()
    finally:
        connection.close()  # The response keeps the socket open.
