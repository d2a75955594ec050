"""State that survives: records of scopes and of what they share, in one SQLite file of a folder that one process owns."""
