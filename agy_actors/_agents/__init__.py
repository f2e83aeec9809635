"""One SDK agent in one actor: its messages, turns, streams and statistics."""
