"""Limits of servers: what their answers say, and what is learned from their denials."""
