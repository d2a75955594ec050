"""Policies: pure state machines that decide on (state, input, now)."""
