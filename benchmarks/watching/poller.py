"""A program that polls the status, in a process of its own so that it costs the daemon nothing.

`python -m benchmarks.watching.poller HOST PORT PATH TIMES` asks ten times a second, from a fixed schedule, and prints how many
milliseconds each answer took to be here as a whole, as a JSON array.
"""

import http.client
import json
import sys
import time
from typing import Final

#: Seconds between two polls.
EVERY: Final = 0.1


def main(host: str, port: str, path: str, times: str) -> None:
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    taken = []
    due = time.monotonic()
    for _ in range(int(times)):
        time.sleep(max(0.0, due - time.monotonic()))
        due += EVERY
        start = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        taken.append((time.perf_counter() - start) * 1_000)
        assert answer.status == 200
        assert body
    print(json.dumps(taken))


if __name__ == "__main__":
    main(*sys.argv[1:])
