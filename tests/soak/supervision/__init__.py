"""Soak runs of supervision. See `__main__`."""
