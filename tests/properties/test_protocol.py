"""Properties of the protocol between processes: whatever is cut, joined or damaged, frames are read as they were written."""

from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import Instant
from governor.messages import Acquire, Report
from governor.policies.contract import Grant, Request, Result
from governor.protocol import (
    FROM_MEMBER,
    FROM_OWNER,
    MAX_FRAME,
    Ask,
    FrameError,
    FrameReader,
    FromMember,
    FromOwner,
    Granted,
    Hello,
    Lent,
    Recall,
    Told,
    Welcome,
    encode,
)

GRANT = Grant(Instant(12), 3)

messages = st.sampled_from(
    [
        Hello(1, 4711, "worker", held={"github:get": 2}),
        Ask(1, "openai/gpt-5:post", Acquire(Request(2, {"tokens": 900}), 5.0, 1, "agent", "batch")),
        Told("github:get", Report(Grant(Instant(12), 3, Request(1), (0, 7)), Result.FAILURE, 503), permit=1, number=2, ago=15),
        Told("github:get", Report(GRANT, Result.SUCCESS, used={"tokens": 2**40})),
    ]
)


@given(st.lists(messages, max_size=6), st.lists(st.integers(min_value=0), max_size=8))
def test_messages_are_read_as_they_were_sent_however_the_stream_is_cut(sent: list[FromMember], cuts: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = FrameReader(FROM_MEMBER)

    read = [message for start, end in pairwise(places) for message in reader.feed(stream[start:end])]

    assert (read, reader.incomplete) == (sent, 0)


@given(st.binary(max_size=300), st.lists(messages, max_size=2), st.integers(min_value=0))
def test_damaged_streams_end_with_an_error_and_are_never_kept_beyond_a_frame(
    noise: bytes, sent: list[FromMember], place: int
) -> None:
    stream = bytearray(b"".join(map(encode, sent)))
    place %= len(stream) + 1
    stream[place : place + len(noise)] = noise
    reader = FrameReader(FROM_MEMBER)
    with suppress(FrameError):
        for message in reader.feed(bytes(stream)):
            assert isinstance(message, msgspec.Struct)
    assert reader.incomplete <= MAX_FRAME


@pytest.mark.parametrize(
    "owner_says", [Welcome(1, 1.0), Granted(1, GRANT, held=True), Lent("a:b", 1, 9, Instant(5), 0), Recall("a:b", 2)]
)
def test_the_owner_is_understood(owner_says: FromOwner) -> None:
    assert [owner_says] == list(FrameReader(FROM_OWNER).feed(encode(owner_says)))


def test_no_message_is_longer_than_a_frame() -> None:
    with pytest.raises(FrameError, match="longer than the 1,048,576"):
        encode(Hello(1, 1, "x" * MAX_FRAME))
    with pytest.raises(FrameError, match="longer than the 1,048,576"):
        list(FrameReader(FROM_MEMBER).feed((MAX_FRAME + 1).to_bytes(4, "big")))
