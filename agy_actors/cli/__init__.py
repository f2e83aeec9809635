"""The command line, ``agy-actors``."""

from agy_actors.cli._app import main

__all__ = ["main"]
