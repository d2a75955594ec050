"""What does an API pay for limits on its clients? Around a call, under a server, and in memory."""
