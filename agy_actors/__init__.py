"""Supervised LLM agents on threads: an actor runtime for Google's Antigravity SDK."""
