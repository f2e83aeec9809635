"""Checks the address of an OpenAI-compatible server, and that the server answers there."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from urllib.parse import SplitResult, urlsplit

from agy_actors.cli.usage_problem import UsageProblem

__all__ = ["model_names", "parse_address", "port_of", "without_secrets"]

PROBE_TIMEOUT = 5.0
"""Seconds in which a server must answer. It need not load a model for that. Arbitrary."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ASKS_FOR_A_KEY = {401, 403}
_MAX_ANSWER = 1_000_000  # Bytes; arbitrary: no list of models is longer.


def parse_address(base_url: str) -> SplitResult:
    """Parse the address of a server.

    Raises:
        UsageProblem: it is not an HTTP address, or contains a user, a query or a fragment.
    """
    try:
        url = urlsplit(base_url)
        _ = url.port  # Raises if it is not a number.
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise UsageProblem(
            f"--base-url {without_secrets(base_url)} is not the address of a server;"
            " give one like http://localhost:11434/v1"
        )
    if url.username or url.password or url.query or url.fragment:
        raise UsageProblem(
            f"--base-url {without_secrets(base_url)} was given with a user, a query or a fragment,"
            " which are not sent to the server; remove them"
        )
    return url


def port_of(url: SplitResult) -> int:
    """Return the port of an address, or the default of its scheme."""
    return url.port or (443 if url.scheme == "https" else 80)


def without_secrets(base_url: str) -> str:
    """Return an address without the parts that may be secret: user, query and fragment."""
    return base_url.split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]


def model_names(base_url: str, shown: str) -> list[str]:
    """Check that a server answers, and return the names of its models.

    Args:
        base_url: the address, without a final slash.
        shown: the address for error messages.

    Returns:
        The names; empty if the server does not list its models.

    Raises:
        UsageProblem: the server cannot be reached, or needs a key.
    """
    # Like the harness, do not use a proxy for this machine.
    direct = urlsplit(base_url).hostname in _LOOPBACK
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if direct else []))
    # Like the harness, accept the address with and without /v1.
    paths = ["/models"] if base_url.endswith("/v1") else ["/v1/models", "/models"]
    for path in paths:
        try:
            with opener.open(base_url + path, timeout=PROBE_TIMEOUT) as answer:
                return _read_names(answer.read(_MAX_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _ASKS_FOR_A_KEY:
                    raise UsageProblem(
                        f"the server at {shown} needs a key (HTTP {error.code}), but keys for"
                        " --base-url are not supported; use a server without a key"
                    ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise UsageProblem(
                f"the server at {shown} cannot be reached ({why}); start it, or correct --base-url"
            ) from None
    return []  # The server answers, but does not list its models.


def _read_names(answer: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(answer)["data"]]
    except (ValueError, KeyError, TypeError):
        return []
