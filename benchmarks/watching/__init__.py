"""The cost of monitoring."""
