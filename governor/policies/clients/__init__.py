"""Limits of very many clients: one table for each limit, in bounded memory."""
