"""What does an API pay for limits on its callers? Around a call, under a server, and in memory."""
