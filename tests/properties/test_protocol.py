"""Properties of the protocol between processes: whatever is cut, joined or damaged, frames are read as they were written."""

from contextlib import suppress
from itertools import pairwise
from typing import Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import MINUTE, SECOND, Instant
from governor.errors import Reason
from governor.hints import Hint, Severity
from governor.messages import (
    MAX_COST,
    MAX_KEY,
    MAX_ROUTES,
    Acquire,
    Answered,
    Denied,
    Hinted,
    InboundRequest,
    NoRetry,
    PlanRetry,
    Report,
    RetryGivenUp,
    RetryPlan,
    Settled,
)
from governor.policies.arrivals import Ending
from governor.policies.ban_guard import Rejection
from governor.policies.contract import Grant, Request, Result
from governor.protocol import (
    FROM_MEMBER,
    FROM_OWNER,
    MAX_BATCH,
    MAX_FRAME,
    MAX_LIMIT_TEXT,
    MAX_LIMITS,
    MAX_PARTS,
    MAX_PLACE,
    Act,
    Acted,
    Admit,
    Admitted,
    Answer,
    Ask,
    AskDenied,
    Ended,
    EndpointLimits,
    Exceeded,
    Forget,
    FrameError,
    FrameReader,
    FromMember,
    FromOwner,
    Granted,
    Hello,
    Leased,
    LeaseReport,
    LeaseUse,
    Left,
    Plan,
    Planned,
    Query,
    Read,
    Readmit,
    Recall,
    Rejected,
    Requests,
    Told,
    ToldOutcome,
    Unused,
    Verdict,
    Welcome,
    Withdraw,
    encode,
)

GRANT = Grant(Instant(12), 3)
REQUEST = InboundRequest(b"a" * 16, b"i" * 16)
ENDPOINT = EndpointLimits("app:12#1", "export", ("5/minute burst 5", "2 in flight"))

HINT = Hint(
    "tokens", 60, 0, SECOND, MINUTE, Severity.THROTTLED, scope="scope", window=MINUTE, name="daily", assumed=True, banned=True
)
ANSWERED = Answered(GRANT, 429, Rejection.LIMITED, at=Instant(7))
#: What a member says: each message, and each outcome, with as much as it can hold.
SAID: Final[list[FromMember]] = [
    Hello(1, 4711, "worker", held={"github:get": 2}, used={"github:get": {"requests": 5}}, by_caller={"agent": {"usd": 9}}),
    Ask(1, "openai/gpt-5:post", Acquire(Request(2, {"tokens": 900}), 5.0, 1, "agent", "batch")),
    Withdraw(2),
    Told("github:get", Report(Grant(Instant(12), 3, Request(1), (0, 7)), Result.FAILURE, 503), permit=1, number=2),
    Told("github:get", Report(GRANT, Result.SUCCESS, 200, {"tokens": 2**40}, ANSWERED, "Timeout", Ending.GIVEN_UP)),
    Told("github:get", ANSWERED),
    Told("github:get", Hinted(GRANT, (HINT, Hint("requests")))),
    Told("github:get", Settled(GRANT, {"tokens": 3}, ANSWERED)),
    Told("github:get", RetryGivenUp()),
    Told("github:get", Unused(GRANT)),
    LeaseReport(3, (LeaseUse("github:get", 1, 2, 3, {200: 1, 0: 1}, 1, 7),)),
    Plan(4, "github:get", PlanRetry(2, SECOND, MINUTE)),
    Query(5, "statistics"),
    Act(6, "close", "github", "10m"),
    Act(7, "recall", "4711"),
    Hello(1, 4712, "governor", operator=True),
    Admit(
        5, 1, (Requests("chat", (REQUEST, InboundRequest(b"k", b"a", (0, 3), "pro", 7)), True), Requests(ENDPOINT, (REQUEST,)))
    ),
    Readmit("chat", {1: REQUEST}),
    Ended(ENDPOINT, {200: 3, 0: 1}, {2: 500, 3: 0}),
]
ANSWERS: Final[list[FromOwner]] = [
    Welcome(1, 1.0, Instant(7), b"secret", "digest"),
    Rejected("not you"),
    Granted(1, Grant(Instant(5), 0, Request(2, {"tokens": 9}), (1,), Instant(6), Ending.UNKNOWN, "agent"), held=True),
    AskDenied(2, Denied("github:get", Reason.COOLDOWN, 1.5, again=True)),
    Read(3),
    Leased("a:b", 1, 9, Instant(5), 0),
    Recall("a:b", 2),
    Forget("a:b"),
    Planned(4, RetryPlan(None, NoRetry.BUDGET)),
    Answer(5, b"{}", more=True),
    Acted(6, "there is no provider 'github'"),
    Acted(7, "", 2, 40),
    Admitted(
        5,
        (
            None,
            Verdict(held=True),
            Verdict(Exceeded("chat", "route", 1.5, "2 in flight", True, Reason.CONCURRENCY, "export")),
            Verdict(None, Left("client", 3, "5/s burst 5"), True),
            Verdict(overloaded=True),
        ),
    ),
]
messages = st.sampled_from(SAID)


def test_every_message_is_tried_here() -> None:
    said = [*SAID, *(one.outcome for one in SAID if isinstance(one, Told))]

    assert {*get_args(FromMember), *get_args(ToldOutcome)} == {type(one) for one in said}
    assert {*get_args(FromOwner)} == {type(one) for one in ANSWERS}


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


@pytest.mark.parametrize("owner_says", ANSWERS, ids=lambda one: type(one).__name__)
def test_the_owner_is_understood(owner_says: FromOwner) -> None:
    assert [owner_says] == list(FrameReader(FROM_OWNER).feed(encode(owner_says)))


@pytest.mark.promise("R66")
def test_the_longest_batches_of_requests_fit_into_a_frame() -> None:
    request = InboundRequest(b"c" * MAX_KEY, b"a" * MAX_KEY, (2**16 - 1,) * MAX_ROUTES, "t" * 100, MAX_COST)
    groups = [EndpointLimits("p" * MAX_PLACE, "n" * 100, ("l" * MAX_LIMIT_TEXT,) * MAX_LIMITS)] * MAX_PARTS
    share = (request,) * (MAX_BATCH // MAX_PARTS)

    assert encode(Admit(2**62, 2**62, tuple(Requests(group, share, announce=True) for group in groups)))
    assert encode(Readmit(groups[0], {2**61 + number: request for number in range(MAX_BATCH)}))


def test_no_message_is_longer_than_a_frame() -> None:
    with pytest.raises(FrameError, match="longer than the 1,048,576"):
        encode(Hello(1, 1, "x" * MAX_FRAME))
    with pytest.raises(FrameError, match="longer than the 1,048,576"):
        list(FrameReader(FROM_MEMBER).feed((MAX_FRAME + 1).to_bytes(4, "big")))
