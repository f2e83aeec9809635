"""Actors in one thread's time, in a drawn order of steps."""
