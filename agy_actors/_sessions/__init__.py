"""Sessions: one lasting conversation for each key, and durable requests."""
