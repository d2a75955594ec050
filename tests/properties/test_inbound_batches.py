"""Inbound requests of three processes, batch by batch, against one group that sees the same requests in the same order.

Real are the batches and sessions of the processes, the messages as they travel, the sessions of the owner and its groups. The
clock moves by hand; channels deliver when hypothesis says so, and lose what is in flight when a connection breaks.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from governor import Config, Denied, InboundDenied, InboundRequest, Instant
from governor._actors.actor import ScopeActor
from governor._actors.inbound.group import GroupActor
from governor._actors.inbound.groups import Groups
from governor._admission import EndpointGroup
from governor._member.away import config_for
from governor._member.batches import Asked, Batches, GrantedRequest
from governor._member.deciding_here import DecidingHere
from governor._member.lease import Leases
from governor._member.session import Session as MemberSession
from governor._owner.admissions import group_of
from governor._owner.members import TTL
from governor._owner.session import Session
from governor._units import HOUR, SECOND
from governor.config import InboundGroup, parse_limit
from governor.instrumentation import Announcer
from governor.policies.budget import Budgets
from governor.protocol import (
    FROM_MEMBER,
    FROM_OWNER,
    VERSION,
    Act,
    Acted,
    Admit,
    Ended,
    FrameReader,
    FromMember,
    FromOwner,
    Group,
    Hello,
    Readmit,
    Welcome,
    encode,
)

#: A bucket and requests in flight by client, a strict window by address, tiers, routes, and a limit that is in the code.
CONFIG: Final = Config.from_mapping(
    {
        "inbound": {
            "default": {"limits": ["2 per 2s burst 3"], "address_limits": ["6 per 5s strict"], "total_limits": []},
            "flight": {
                "paths": ["/f"],
                "limits": ["2 in flight"],
                "address_limits": [],
                "total_limits": ["5 in flight", "30/s burst 30"],
                "tiers": {"pro": {"limits": ["3 in flight"]}},
                "routes": [{"paths": ["/f/x"], "limits": ["1 in flight"], "name": "x"}],
            },
            "trial": {"paths": ["/t"], "limits": ["1 in flight"], "address_limits": [], "total_limits": [], "dry_run": True},
        },
        "machine": {"socket": "/nowhere", "share": 0.5},
    }
)
IN_CODE: Final = tuple(parse_limit(text) for text in ("2/h burst 2", "2 in flight"))
ENDPOINT: Final = InboundGroup(limits=IN_CODE, address_limits=(), total_limits=())
WHO: Final = st.integers(0, 2)
REQUESTS: Final = st.builds(
    InboundRequest,
    st.sampled_from([b"ann", b"bob", b"eve"]),
    st.sampled_from([b"office", b"home"]),
    st.sampled_from([(), (0,), (0, 9)]),
    st.sampled_from([None, "pro", "unknown"]),
    st.sampled_from([1, 1, 1, 2, 9]),
)
GROUPS: Final = st.sampled_from(["default", "flight", "flight", "trial", "code"])


@dataclass(eq=False)
class Process:
    """A process, and the two directions of its connection."""

    batches: Batches
    groups: Groups
    owner: Session | None = None
    session: MemberSession | None = None
    to_owner: deque[bytes] = field(default_factory=deque)
    to_process: deque[bytes] = field(default_factory=deque)
    #: What `Admission.end` has left for the thread of the connection.
    ends: deque[tuple[GrantedRequest, int | None]] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    #: Granted requests that have not ended.
    running: list[Asked] = field(default_factory=list)
    #: What the oracle says about the requests of the batch whose answer is on its way, by number.
    expected: dict[int, tuple[object, ...]] = field(default_factory=dict)


class InboundBatches(RuleBasedStateMachine):
    """Every rule is one action of a client, of a channel, or of time."""

    secret, inbound, opens_at, ttl, budgets = b"", "", Instant(0), TTL, Budgets()

    @initialize()
    def begin(self) -> None:
        self.now = 100 * HOUR
        self.groups = self._groups(CONFIG)
        self.oracle = self._groups(CONFIG)
        self.gone: list[Session] = []
        #: Of the oracle: requests in flight, by process and number.
        self.held: dict[tuple[Process | Session, int], tuple[GroupActor, InboundRequest]] = {}
        self.processes = [self._process() for _ in range(3)]
        for process in self.processes:
            self._connect(process)

    def _groups(self, config: Config) -> Groups:
        return Groups(config, now=self.clock, announcer=Announcer(lambda: 0.0), start=lambda group: None)

    def _process(self) -> Process:
        groups = self._groups(config_for(CONFIG))
        here = DecidingHere(groups, CONFIG.machine, self.clock)
        ends: deque[tuple[GrantedRequest, int | None]] = deque()
        batches = Batches(here, time=lambda: self.now / SECOND, end=lambda one, status: ends.append((one, status)))
        return Process(batches, groups, ends=ends)

    # What sessions of the owner know of their governor.

    def clock(self) -> Instant:
        return Instant(self.now)

    def group(self, group: Group) -> GroupActor | None:
        return group_of(self.groups, group)

    def actor(self, scope: str) -> ScopeActor | None:
        raise AssertionError

    def wait_for_others(self) -> None:
        raise AssertionError

    def query(self, session: Session, number: int, document: str) -> None:
        raise AssertionError

    def act(self, act: Act) -> Acted:
        raise AssertionError

    # Clients.

    @rule(who=WHO, group=GROUPS, request=REQUESTS, announce=st.booleans(), several=st.sampled_from([1, 1, 5]))
    def requests_come(self, who: int, group: str, request: InboundRequest, announce: bool, several: int) -> None:
        process = self.processes[who]
        for _ in range(several):
            # Each process has an object of its own for the limit, and it is one limit.
            where = EndpointGroup((who, "code"), "code", ENDPOINT, "app:1") if group == "code" else group
            asked = Asked(where, request, announce)
            process.asked.append(asked)
            process.batches.ask(asked)
        self._dispatch(process)

    @rule(who=WHO, which=st.integers(0, 9), status=st.sampled_from([200, 500, None]))
    def a_request_ends(self, who: int, which: int, status: int | None) -> None:
        process = self.processes[who]
        self._settle(process)
        if process.running:
            asked = process.running.pop(which % len(process.running))
            assert asked.admission is not None
            asked.admission.end(status)
            self._dispatch(process)

    @rule(who=WHO, which=st.integers(0, 9))
    def a_client_goes_away_before_the_decision(self, who: int, which: int) -> None:
        process = self.processes[who]
        if process.asked:
            asked = process.asked.pop(which % len(process.asked))
            process.batches.forget(asked)
            self._dispatch(process)

    def _settle(self, process: Process) -> None:
        """Tasks run whose requests were decided."""
        decided = [asked for asked in process.asked if asked.admission is not None]
        process.asked = [asked for asked in process.asked if asked.admission is None]
        process.running += [asked for asked in decided if asked.admission is not None and asked.admission.granted]

    def _dispatch(self, process: Process) -> None:
        while process.ends:
            one, status = process.ends.popleft()
            process.batches.ended(one, status or 0)
        process.batches.send()

    # Channels.

    @rule(who=WHO, messages=st.integers(1, 4))
    def owner_reads(self, who: int, messages: int) -> None:
        process = self.processes[who]
        for _ in range(min(messages, len(process.to_owner))):
            (message,) = FrameReader(FROM_MEMBER).feed(process.to_owner.popleft())
            assert process.owner is not None
            self._ask_the_oracle(process, message)
            process.owner.handle(message)

    @rule(who=WHO, messages=st.integers(1, 2))
    def process_reads(self, who: int, messages: int) -> None:
        process = self.processes[who]
        for _ in range(min(messages, len(process.to_process))):
            (message,) = FrameReader(FROM_OWNER).feed(process.to_process.popleft())
            self._read(process, message)
        self._dispatch(process)

    def _read(self, process: Process, message: FromOwner) -> None:
        assert process.session is not None
        if isinstance(message, Welcome):
            process.batches.welcome(process.session)
            return
        batch, first = list(process.batches._batch), process.batches._first
        decided_before = [asked.admission for asked in batch]
        process.session.handle(message)
        for number, (asked, before) in enumerate(zip(batch, decided_before, strict=True), first):
            expected = process.expected.pop(number)
            if before is None:
                assert asked.admission is not None
                assert expected == _shown(asked.admission.denied, asked.admission.least)

    @rule(who=WHO)
    def a_round_trip(self, who: int) -> None:
        self.owner_reads(who, 100)
        self.process_reads(who, 100)

    @rule(who=WHO, dies=st.booleans())
    def the_connection_breaks(self, who: int, dies: bool) -> None:
        process = self.processes[who]
        self._settle(process)
        if process.owner is not None:
            process.owner.lost()
            self.gone.append(process.owner)
        self._rename(process)
        process.owner = process.session = None
        process.to_owner.clear()
        process.to_process.clear()
        process.expected.clear()
        if dies:
            self.processes[who] = self._process()
            self._connect(self.processes[who])
        else:
            process.batches.lose()
            self._dispatch(process)
            assert all(asked.admission is not None or asked.gone for asked in process.asked)

    def _rename(self, process: Process) -> None:
        """From now on the oracle knows requests in flight by the session that keeps their places until it gives them up."""
        if process.owner is not None:
            for number in [number for whose, number in self.held if whose is process]:
                self.held[process.owner, number] = self.held.pop((process, number))

    @rule(who=WHO)
    def it_connects_again(self, who: int) -> None:
        if self.processes[who].owner is None:
            self._connect(self.processes[who])

    def _connect(self, process: Process) -> None:
        process.owner = Session(self, lambda message: process.to_process.append(encode(message)))
        nothing: Any = None
        process.session = MemberSession(
            lambda message: process.to_owner.append(encode(message)),
            Leases(lambda: self.now * 1000),
            stand_in=nothing,
            decided=nothing,
            failure_read=nothing,
            leased=nothing,
            admitted=process.batches.admitted,
        )
        process.to_owner.append(encode(Hello(VERSION, 1)))

    # The oracle.

    def _ask_the_oracle(self, process: Process, message: FromMember) -> None:
        match message:
            case Admit(_, first, parts):
                number = first
                for part in parts:
                    actor = self._actor(part.group)
                    for request in part.requests:
                        denied = actor.admit(request)
                        least = actor.least(request) if part.announce and denied is None else None
                        process.expected[number] = _shown(denied, least)
                        if actor.holds and (denied is None or denied.dry_run):
                            self.held[process, number] = actor, request
                        number += 1
            case Readmit(group, requests):
                for number, request in requests.items() if self._actor(group).holds else ():
                    self._actor(group).readmit(request)
                    self.held[process, number] = self._actor(group), request
            case Ended(_, _, places):
                for number, status in places.items():
                    self._end(process, number, status)
            case _:
                pass

    def _end(self, whose: Process | Session, number: int, status: int) -> None:
        # Of a request that was decided without the owner it may keep no place.
        actor, request = self.held.pop((whose, number), (None, None))
        if actor is not None:
            actor.ended(status or None, request)

    def _actor(self, group: Group) -> GroupActor:
        found = group_of(self.oracle, group)
        assert found is not None
        return found

    # Time.

    @rule(span=st.sampled_from([1, SECOND // 3, SECOND, TTL + TTL // 10, 5 * SECOND, HOUR]))
    def time_passes(self, span: int) -> None:
        self.now += span
        for session in list(self.gone):
            session.look()
            if not session.due:
                self.gone.remove(session)
                for whose, number in [key for key in self.held if key[0] is session]:
                    self._end(whose, number, 0)
        for process in self.processes:
            process.batches.look()
            self._dispatch(process)

    @invariant()
    def the_owner_keeps_the_places_of_the_oracle(self) -> None:
        if not hasattr(self, "processes"):
            return
        kept = sum(len(one.owner.admissions) for one in self.processes if one.owner) + sum(
            len(one.admissions) for one in self.gone
        )

        assert kept == len(self.held)

    def teardown(self) -> None:
        if not hasattr(self, "processes"):
            return
        for who, process in enumerate(self.processes):
            self.it_connects_again(who)
            for _ in range(6):
                self.a_round_trip(who)
            self._settle(process)

            assert [] == process.asked
            for asked in process.running:
                assert asked.admission is not None
                asked.admission.end(200)
            self._dispatch(process)
            self.owner_reads(who, 100)
        self.time_passes(TTL + TTL // 10)

        assert 0 == sum(len(one.owner.admissions) for one in self.processes if one.owner) == len(self.held) == len(self.gone)
        assert all(group.clients() == 0 for name, group in self.groups.by_name.items() if name in ("flight", "trial"))
        assert all(
            group.clients() == 0 for one in self.processes for name, group in one.groups.by_name.items() if name == "flight"
        )


def _shown(denied: InboundDenied | Denied | None, least: object) -> tuple[object, ...]:
    return denied, least


InboundBatches.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
TestInboundBatches: Final = pytest.mark.promise("R60", "R61", "R21")(InboundBatches.TestCase)
