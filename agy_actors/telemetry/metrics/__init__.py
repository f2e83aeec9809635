"""The metrics of a supervisor and of everything below it."""
