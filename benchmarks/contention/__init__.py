"""Contention: threads, tasks and event loops that use one limiter."""
