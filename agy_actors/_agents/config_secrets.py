"""Finds the secrets of a configuration, which must not appear in errors, logs and events. Pure.

API keys are secrets. The variables, headers, address and arguments of an MCP server may contain a
token, too. Values that are clearly not secrets, such as a path or a mode, stay readable, because an
error that names them is of no use if they are replaced.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["api_keys", "secrets_in", "service_of"]

# Replacing shorter strings would make messages unreadable, and protect no secret.
_SHORTEST_SECRET = 6

_KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
"""The variables that the SDK and the harness read a key from (google-antigravity 0.1.22)."""

_SECRET_NAME = re.compile(
    r"key|token|secret|passw|pwd|auth|credential|cookie|session|private|signature|bearer",
    re.IGNORECASE,
)
"""Words in the name of a variable, a header or an option whose value is a secret."""

_PLAIN = re.compile(
    r"[~.]{0,2}/.*"  # a path
    r"|[A-Za-z]:\\.*"  # a path, on Windows
    r"|[a-z_.-]{1,20}|[A-Z_]{1,20}"  # a word
    r"|[\d.,:_-]+"  # a number, a date
    r"|application/.*|text/.*|\*/\*",  # a kind of content
    re.DOTALL,
)
"""Values that are not secrets, unless their name says so."""


def api_keys(config: Any) -> set[str]:
    """Return the API keys of a configuration's models, and the headers that are sent with them."""
    found = {getattr(config, "api_key", None)}
    for endpoint in _endpoints(config):
        found.add(getattr(endpoint, "api_key", None))
        found.update((getattr(endpoint, "http_headers", None) or {}).values())
    return {value for value in found if isinstance(value, str) and value}


def secrets_in(config: Any) -> set[str]:
    """Return all secrets of a configuration."""
    found = set(api_keys(config))
    found.update(os.environ.get(variable, "") for variable in _KEY_VARIABLES)
    found.update(_of_named(getattr(config, "env", None)))
    for address in _addresses(config):
        found.update(_of_address(address))
    for server in getattr(config, "mcp_servers", None) or ():
        found.update(_of_named(getattr(server, "env", None)))
        found.update(_of_named(getattr(server, "headers", None)))
        found.update(_of_address(getattr(server, "url", None)))
        found.update(_of_arguments(getattr(server, "args", None) or ()))
    # A text that quotes them may escape them.
    found.update([json.dumps(value)[1:-1] for value in found])
    return {value for value in found if len(value) >= _SHORTEST_SECRET}


def service_of(config: Any) -> str:
    """Return the address of a configuration's model, without secrets; "" if it has no address."""
    for address in _addresses(config):
        try:
            parts = urlsplit(address)
        except ValueError:
            return ""
        return parts._replace(
            netloc=parts.netloc.rpartition("@")[2], query="", fragment=""
        ).geturl()
    return ""


def _endpoints(config: Any) -> Iterator[Any]:
    for target in getattr(config, "models", None) or ():
        endpoint = getattr(target, "endpoint", None)
        if endpoint is not None:
            yield endpoint


def _addresses(config: Any) -> Iterator[str]:
    for owner in (config, *_endpoints(config)):
        address = getattr(owner, "base_url", None)
        if isinstance(address, str) and address:
            yield address


def _of_named(values: object) -> Iterator[str]:
    """Yield the secrets among variables or headers."""
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        text = str(value)
        if _SECRET_NAME.search(str(name)):
            yield text
            yield from text.split()[1:]  # As in "Bearer TOKEN".
        elif not _PLAIN.fullmatch(text):
            if "://" in text:
                yield from _of_address(text)
            else:
                yield text


def _of_address(address: object) -> Iterator[str]:
    """Yield the secrets in an address: a password, and the values of its query."""
    if not isinstance(address, str):
        return
    try:
        parts = urlsplit(address)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    for _, value in parse_qsl(parts.query):
        if not _PLAIN.fullmatch(value):
            yield value


def _of_arguments(arguments: Iterable[object]) -> Iterator[str]:
    """Yield the secrets among a command's arguments: the values of options with such names."""
    option = ""
    for argument in map(str, arguments):
        name, equals, value = argument.partition("=")
        if equals and _SECRET_NAME.search(name):
            yield value
        elif option.startswith("-") and _SECRET_NAME.search(option):
            yield argument
        elif "://" in argument:
            yield from _of_address(argument)
        option = argument
