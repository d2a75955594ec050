"""What happens when many ask at once? Threads, tasks and event loops, in front of one limiter."""
