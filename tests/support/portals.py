"""Portals that a test drives or listens to."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from unittest.mock import patch

from governor._actors.portal import Portal


class StillPortal(Portal):
    """A portal without a loop: a test runs what was posted."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.thread = get_ident()
        self.time = time
        self.ended = False
        self._calls = deque()
        self.posts: deque[Callable[[], object]] = deque()

    def post(self, callback: Callable[[], object]) -> bool:
        self.posts.append(callback)
        return True

    def turn(self) -> None:
        """Runs everything that was posted, and what that posts."""
        while self.posts:
            self.posts.popleft()()


@contextmanager
def heard_posts() -> Iterator[list[tuple[Portal | None, str]]]:
    """Which portals are posted to within the block, and by which threads."""
    heard: list[tuple[Portal | None, str]] = []
    post = Portal.post

    def count(self: Portal, callback: Callable[[], object]) -> bool:
        heard.append((self, threading.current_thread().name))
        return post(self, callback)

    with patch.object(Portal, "post", count):
        yield heard
