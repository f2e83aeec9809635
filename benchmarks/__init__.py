"""What it costs. Each module measures one layer: `python -m benchmarks.kernel`."""
