"""Give an agent the tools of an MCP server, which its process starts and ends."""

import os
import sys
from pathlib import Path

from google.antigravity import LocalOpenAIAgentConfig
from google.antigravity.types import McpStdioServer

from agy_actors import Chat, Supervisor

units = McpStdioServer(
    name="units",
    command=sys.executable,
    args=[str(Path(__file__).with_name("mcp_server.py"))],
)
config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
    mcp_servers=[units],
)

with Supervisor.start() as supervisor:
    traveller = supervisor.create_agent(config, name="traveller")
    reply = traveller.ask(Chat("How far are 42 kilometres, in miles?"))
    print("called:", *(call.name for call in reply.tool_calls))
    print(reply.text)
