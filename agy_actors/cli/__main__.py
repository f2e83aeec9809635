"""Run the command line as ``python -m agy_actors.cli``."""

from agy_actors.cli import main

if __name__ == "__main__":
    main()
