"""Messages for a reader on another loop: by one callback, and answered by the sender once the loop has ended."""

from collections.abc import Callable

import pytest

from governor import Denied, Reason
from governor._actors.failures import Failures
from governor._actors.mailbox import Mailbox
from governor._actors.queue import Waiter
from governor.messages import Acquire, RetryGivenUp
from tests.support.portals import StillPortal


class Actor:
    def hear(self) -> bool:
        return True

    def read(self) -> None:
        pass


def mailbox(portal: StillPortal) -> Mailbox:
    return Mailbox("weather", portal=portal, failures=Failures(), max_waiting=10, reader=Actor())


def ask(box: Mailbox) -> Waiter:
    waiter = Waiter(Acquire(), lambda: None)
    box.send(waiter.acquire, waiter)
    return waiter


@pytest.mark.promise("R55")
def test_what_is_left_for_a_loop_that_has_ended_is_answered_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = StillPortal(float)
    box = mailbox(portal)
    box.outcomes.append(RetryGivenUp())
    monkeypatch.setattr(portal, "post", lambda _: False)

    waiters = [ask(box) for _ in range(2)]

    assert [Denied("weather", Reason.SHUTTING_DOWN, None)] * 2 == [waiter.answer for waiter in waiters]
    assert (0, 0) == (len(box.inbox), len(box.outcomes))


def test_one_callback_is_posted_for_all_that_is_left_before_it_is_read() -> None:
    portal = StillPortal(float)
    box = mailbox(portal)
    for _ in range(3):
        ask(box)
    once = len(portal.posts)
    portal.turn()
    ask(box)

    assert (1, 1) == (once, len(portal.posts))


def test_a_message_whose_callback_was_interrupted_is_read_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = StillPortal(float)
    box = mailbox(portal)

    def interrupted(callback: Callable[[], object]) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(portal, "post", interrupted)
        ask(box)
    ask(box)

    assert (1, 2) == (len(portal.posts), len(box.inbox))
