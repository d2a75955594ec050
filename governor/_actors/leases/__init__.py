"""Leases: what is granted ahead to threads and to other processes."""
