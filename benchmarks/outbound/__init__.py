"""Calls through HTTP libraries with and without a governor."""
