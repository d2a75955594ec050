"""Limiters under contention. Each module is imported only in the process that measures it."""
