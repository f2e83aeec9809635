"""An MCP server with one tool, for ``mcp_tools.py``; it uses standard input and output."""

from mcp.server import MCPServer

server = MCPServer("units")


@server.tool()
def miles(kilometres: float) -> str:
    """Converts kilometres to miles."""
    return f"{kilometres / 1.609344:.1f} miles"


server.run()
