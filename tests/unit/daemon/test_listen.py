"""The socket that `governor serve` listens on."""

import socket

import pytest

from governor.daemon.serve import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_second_part_of_an_answer_does_not_wait_for_the_client_to_confirm_the_first(host: str) -> None:
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        connection, _ = listener.accept()
        with connection:
            without_delay = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert 1 == without_delay
