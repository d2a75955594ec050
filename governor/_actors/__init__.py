"""Owners: who holds which state, and how others reach them."""
