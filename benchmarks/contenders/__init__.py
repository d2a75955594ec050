"""What takes part? One module for each kind of contender; each is imported only in the process that measures it."""
