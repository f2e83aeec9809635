"""Soak runs: commands that run for minutes, and exit with 1 after any error.

pytest collects none of them. `tests/test_recovery.py` runs a few repetitions of one.
"""
