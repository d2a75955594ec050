"""A process that calls the provider from two threads until it is told to end, and then writes how many calls were answered."""

import signal
import sys
from threading import Event, Thread

from governor import PermitDenied
from governor_client import TrafficControlledHttpClient


def main(url: str, path: str) -> None:
    answered: list[int] = []
    told = Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def work() -> None:
        with TrafficControlledHttpClient("weather", url, wait=0.3, govern_loopback=True) as client:
            while not told.is_set():
                try:
                    answered.append(client.get(path).status_code)
                except PermitDenied:
                    told.wait(0.01)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    told.wait()
    for thread in threads:
        thread.join()
    sys.stdout.write(str(len(answered)))


main(sys.argv[1], sys.argv[2])
