"""An MCP server: a shop. As a program, it serves its standard streams, or HTTP.

`mcp_shop.py` is for an agent's configuration to start. `mcp_shop.py http` takes a free
port of the loopback interface and prints it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

shop = MCPServer("shop", log_level="ERROR")
greetings: list[str] = []
"""The header `x-greeting` of each request."""


@shop.tool()
async def price(fruit: str) -> str:
    """Tell the price of a fruit."""
    if fruit == "stone":
        raise ToolError("a stone is no fruit")
    return f"{fruit}: {len(fruit)} {os.environ.get('CURRENCY', 'euros')}"


@shop.tool()
async def pid() -> str:
    """Tell the server's process."""
    return f"pid {os.getpid()}"


@shop.tool()
async def greeting() -> str:
    """Tell what the client's headers said."""
    return " ".join(sorted(set(greetings)))


async def listening(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Serve HTTP, and record the greetings."""
    greetings.extend(v.decode() for k, v in scope.get("headers", ()) if k == b"x-greeting")
    await app(scope, receive, send)


if __name__ == "__main__" and "http" not in sys.argv:
    shop.run("stdio")
    time.sleep(float(os.environ.get("LINGER", "0")))  # Even if no client is left.
elif __name__ == "__main__":
    app = shop.streamable_http_app()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 (who started it reads it)
    uvicorn.Server(uvicorn.Config(listening, log_level="error")).run(sockets=[listener])
