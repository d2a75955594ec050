"""Member: a process whose limits a daemon owns. Its leases, its connection to the daemon, and what it does without it."""
