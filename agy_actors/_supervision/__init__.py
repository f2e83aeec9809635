"""Supervisors and pools: their decisions, and the actors that carry them out."""
