"""The command line, ``agy-actors``."""

from agy_actors.cli.app import main

__all__ = ["main"]
