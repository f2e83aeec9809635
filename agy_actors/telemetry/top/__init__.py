"""`top`: shows what agents do in a terminal, in this program or in another one.

Importing this package imports neither textual nor a server; `top` and `serve_top` do.
"""

from __future__ import annotations

from agy_actors.telemetry.top.run import top
from agy_actors.telemetry.top.server import TopServer, serve_top

__all__ = ["TopServer", "serve_top", "top"]
