"""The limiters that are compared."""
