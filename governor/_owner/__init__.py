"""Owner of the limits of a machine: the processes that are connected to a governor, what they hold, and the socket."""
