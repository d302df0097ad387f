"""An MCP server on stdio for the tests. It writes one mark to the file of its argument when it starts."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("desk")


@server.tool()
def look_up(order: str) -> str:
    """Look up an order."""
    if order == "none":
        raise ToolError("no such order")
    return f"order {order} is paid"


@server.tool()
def hang() -> str:
    """Hang."""
    time.sleep(600)
    return ""


@server.tool()
def variable(which: str) -> str:
    """The value of an environment variable."""
    return os.environ.get(which, "none")


@server.tool()
def quit() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], "a") as out:
            out.write("x")
    server.run()
