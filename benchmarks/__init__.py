"""Benchmarks. Each module measures one layer: `python -m benchmarks.kernel`."""
