"""A script as cron starts it: calls a provider a few times, and ends."""

import os
import sys

from governor_client import TrafficControlledHttpClient

with TrafficControlledHttpClient("demo", os.environ["PROVIDER"], govern_loopback=True) as client:
    for _ in range(int(sys.argv[1])):
        client.get("/items/cron").raise_for_status()
