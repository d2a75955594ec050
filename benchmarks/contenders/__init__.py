"""Contenders. Each module is imported only in the process that measures it."""
