"""A loopback HTTP server that plays the model."""
