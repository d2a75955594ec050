"""One of several processes that share the workload: `python -m demo.worker`.

It says that it is ready, reads its `Task` as one line of JSON, makes its calls, and prints how they ended.
"""

import sys
from functools import partial

import anyio
import msgspec

from demo.governed import Governed
from demo.workers import Ended, Task
from demo.workload import drive


def main() -> None:
    """Does one task."""
    print("ready", flush=True)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    contender = Governed(task.base_url, title="", settings=task.settings)
    driven = anyio.run(partial(drive, contender, task.calls, duration=task.duration, watch=lambda *_: None))
    print(msgspec.json.encode(Ended(driven.workload, driven.loop)).decode(), flush=True)


if __name__ == "__main__":
    main()
