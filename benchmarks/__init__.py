"""Benchmarks of the governor and of alternatives. Run `python -m benchmarks`."""
