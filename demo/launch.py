"""Starts the provider of the demo, and reads its log at the end."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final

from demo.rules import ProviderLog, Rules
from demo.wire import decode, encode

#: Seconds for starting and for ending; a slow machine under load needs a few.
_TIMEOUT: Final = 30.0


class ProviderFailed(Exception):
    """The provider of the demo did not start, or did not hand over its log."""


class Provider:
    """A fresh provider in a process of its own. As a context manager it is gone in the end, whatever happens."""

    def __init__(self, rules: Rules) -> None:
        command = [sys.executable, "-m", "demo.provider", encode(rules).decode()]
        # In a session of its own, Ctrl-C does not reach it: it ends with its standard input.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        with self._or_killed():
            port = self._read_line()
        if not port:
            self.__exit__()
            raise ProviderFailed("the provider did not start; what it said stands above")
        self.base_url = f"http://127.0.0.1:{port}"

    def finish(self) -> ProviderLog:
        """Stops the provider and answers what it has seen. Raises `ProviderFailed` if it has gone before."""
        with self._or_killed():
            self._close_input()
            log = self._read_line()
        if not log:
            raise ProviderFailed("the provider ended without its log; what it said stands above")
        return decode(log, ProviderLog)

    def __enter__(self) -> "Provider":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._close_input()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _read_line(self) -> str:
        return "" if self._process.stdout is None else self._process.stdout.readline().decode().strip()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    @contextmanager
    def _or_killed(self) -> Iterator[None]:
        """Kills the process if the block takes too long; its output then ends, and with it the wait for a line."""
        killer = Timer(_TIMEOUT, self._process.kill)
        killer.start()
        try:
            yield
        finally:
            killer.cancel()
