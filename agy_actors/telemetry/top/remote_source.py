"""`RemoteSource`: reads the supervisor of another program, through its `serve_top`."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from agy_actors.telemetry.top.errors import InvalidAddress, TopUnavailable
from agy_actors.telemetry.top.snapshot import Snapshot

if TYPE_CHECKING:
    from agy_actors.telemetry.top.source import Action

__all__ = ["RemoteSource"]

_PATIENCE = 3.0
"""Seconds to wait for an answer. Arbitrary: longer than an action takes there."""

_UNAUTHORIZED, _MISDIRECTED = 401, 421


class RemoteSource:
    """Reads the supervisor of another program: a `Source`.

    Each request has a connection of its own, so a program that was started again is found again.

    Args:
        url: the `url` of its `TopServer`.
        token: its `token`.

    Raises:
        InvalidAddress: the URL or the token cannot be used.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = _split(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._token = token.strip()
        if not (self._token.isascii() and self._token.isprintable()):
            raise InvalidAddress("the token has characters that no token has")
        self.name = parts.netloc
        """The host and the port."""

    def read(self, since: int) -> Snapshot:
        """Return a snapshot.

        Raises:
            TopUnavailable: there is no answer.
        """
        value = self._request("GET", f"/top/state?since={since}")
        try:
            return Snapshot.from_json(value)
        except ValueError as error:
            raise TopUnavailable(
                f"{self.name} gives an answer of another version of agy_actors ({error})"
            ) from None

    def act(self, action: Action, node_id: str) -> str:
        """Carry out an action there.

        Raises:
            TopUnavailable: there is no answer.
        """
        value = self._request("POST", "/top/actions", {"action": action.value, "id": node_id})
        return str(value.get("message", "")) if isinstance(value, dict) else ""

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_PATIENCE)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request(
                method,
                self._path + path,
                None if body is None else json.dumps(body),
                headers,
            )
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TopUnavailable(f"no answer from {self.name}: {words}") from None
        finally:
            connection.close()
        if status != http.client.OK:
            raise TopUnavailable(f"{self.name} refused the request: {_reason(status, content)}")
        try:
            return json.loads(content)
        except ValueError:
            raise TopUnavailable(f"{self.name} is not a serve_top of agy_actors") from None


def _reason(status: int, content: bytes) -> str:
    if status not in (_UNAUTHORIZED, _MISDIRECTED):
        return f"status {status}; is it a serve_top of agy_actors?"
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


def _split(url: str) -> urllib.parse.SplitResult:
    wrong = InvalidAddress("the URL must be the one of a serve_top, such as http://127.0.0.1:8123")
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise wrong from None
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise wrong
    return parts
