"""Decisions: pure state machines of (state, input, now)."""
