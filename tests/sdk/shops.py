"""The ways in which agents use the MCP server in `mcp_shop.py`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.antigravity.types import McpStdioServer, McpStreamableHttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM = Path(__file__).with_name("mcp_shop.py")


def stdio_shop(name: str = "shop", **overrides: Any) -> McpStdioServer:
    """Configure a shop that the agent's process starts for itself."""
    settings = {"force_all_tools_eager": True, "args": [str(_PROGRAM)], **overrides}
    return McpStdioServer(name=name, command=sys.executable, **settings)


class HttpShop:
    """A shop that runs already.

    Args:
        port: its port.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"

    def server(self, name: str = "shop", **overrides: Any) -> McpStreamableHttpServer:
        """Configure an agent to use it."""
        settings = {"force_all_tools_eager": True, **overrides}
        return McpStreamableHttpServer(name=name, url=self.url, **settings)


@contextlib.contextmanager
def http_shop() -> Iterator[HttpShop]:
    """Run a shop over HTTP."""
    command = [sys.executable, str(_PROGRAM), "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield HttpShop(int(process.stdout.readline()))
        finally:
            process.kill()
