"""Actors: each is the only writer of its state, and is reached by messages, permits and leases."""
