"""The cost of inbound limits: around a call, under a server, and in memory."""
