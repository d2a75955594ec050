"""Puts calls into the queue, and waits until the worker has made them."""

import sys

from tests.integration.machine.programs.tasks import call

for result in [call.delay() for _ in range(int(sys.argv[1]))]:
    assert "200" == result.get(timeout=60).partition(" ")[0]
