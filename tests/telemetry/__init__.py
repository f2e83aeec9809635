"""Tests of traces, metrics and `top`."""
