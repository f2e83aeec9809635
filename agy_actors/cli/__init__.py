"""The command line, ``agy-actors``."""
