"""Who takes part? One module for each dependency; each is imported only in the process that measures it."""
