"""Inbound groups: the actors that admit requests of clients, and their counts."""
