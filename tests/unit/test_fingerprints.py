"""Loops of agents, and use that is none, by the fingerprints of real requests."""

import gzip
import json
import uuid
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import pytest

from governor import _fingerprints as fingerprints
from governor._fingerprints import Fingerprints, volatile
from governor._units import Instant
from governor.policies.loops import Call, LoopGuard, Loops

pytestmark = pytest.mark.promise("R09")

SECOND: Final = 1_000_000
PRINTS: Final = Fingerprints(b"0" * 32)
WORDS: Final = ["alpha", "beta", "graph", "river", "stone", "cloud", "paper", "light", "sound", "table"]
draw: Final = Random(5)

#: The body of a call by its number, and what it is answered.
Calls = Callable[[int], tuple[str | bytes, str]]


def granted(calls: Calls, *, number: int = 60) -> int:
    """How many of these calls are granted to one who makes each 0.2 s after the answer to the last."""
    draw.seed(5)
    guard, rule, now, passed = LoopGuard(), Loops(), 0, 0
    for at in range(number):
        body, answer = calls(at)
        found = PRINTS.request("POST", "https://api.example.com/v1/chat", body)
        call, asked_at = Call(found.exact, found.shape, None), Instant(now)
        said = guard.ask(Instant(now), rule, call, asked_at)
        if said is None or not said.denied:
            passed += 1
            now += SECOND // 2 + (0 if said is None else said.wait)
            told = answer.encode()
            similar = not found.pages or fingerprints.lists(told)
            guard.answered(Instant(now), rule, call, asked_at, PRINTS.answer(200, told, found), similar=similar)
        now += SECOND // 5
    return passed


def asks(text: str, **more: object) -> str:
    said = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    names = list(said)
    draw.shuffle(names)
    return json.dumps({name: said[name] for name in names}, indent=draw.choice([None, 2]))


def turn(number: int, *said: str) -> list[dict[str, str]]:
    """So many turns of a conversation in which a tool is called and says this, by turns."""
    ids = ["call_" + random_id()[:8] for _ in range(number)]
    return [
        message
        for at, name in enumerate(ids)
        for message in (
            {"role": "assistant", "content": "", "call": name},
            {"role": "tool", "tool_call_id": name, "content": said[at % len(said)]},
        )
    ]


def text(words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def cut(said: str) -> list[str]:
    """The text in two pieces."""
    at = draw.randrange(1, len(said))
    return [said[:at], said[at:]]


def random_id() -> str:
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


def secret() -> str:
    return "a1" + f"{draw.getrandbits(96):024x}"


LOOPS: Final[dict[str, Calls]] = {
    "the same": lambda at: (asks("read it"), "no"),
    "a counter": lambda at: (asks(f"attempt {at}: read it"), "no"),
    "a time": lambda at: (asks(f"Now: 2023-11-14T22:13:{at % 60:02}.123Z. Read it", ts=1_700_000_000.25 + at), "no"),
    "milliseconds": lambda at: (asks("read it", t=1_764_288_000_123 + at), "no"),
    "an identifier": lambda at: (asks("read it", request_id=random_id()), "no"),
    "what is random": lambda at: (asks("read it", seed=draw.getrandbits(60), nonce=f"/q+{draw.random()}=="), "no"),
    "white space": lambda at: (asks("read" + " " * draw.randrange(1, 90) + "it" + " " * draw.randrange(90)), "no"),
    "calls of a tool": lambda at: (
        json.dumps({"jsonrpc": "2.0", "id": at, "method": "tools/call", "params": {"name": "read"}}),
        json.dumps({"jsonrpc": "2.0", "id": at, "result": "no"}),
    ),
    "a counter by its name": lambda at: (
        json.dumps({"q": "read", "attempt": at, "retryCount": at, "seq": str(at), "n": at}),
        "no",
    ),
    "a counter in words": lambda at: (json.dumps({"q": "read", "progress": f"step {at} of 90", "label": f"try{at}"}), "no"),
    "a counter of a form": lambda at: (f"q=read&message_number={at}&_={1_700_000_000_000 + at * 700}", "no"),
    "identifiers of the request": lambda at: (
        json.dumps({"traceId": random_id(), "request_ref": f"req-{at}", "requestId": str(10**17 + at)}),
        "no",
    ),
    "the clock of the caller": lambda at: (
        json.dumps({"q": "read", "requested_at": f"2023-11-14T22:13:{at % 60:02}Z", "elapsed_ms": at * 700}),
        json.dumps({"text": "no", "timestamp": 1_700_000_000 + at, "usage": {"prompt_tokens": at, "details": {"cached": 0}}}),
    ),
    "turns of eight messages that repeat": lambda at: (
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "read it"}, *turn(at * 4, *WORDS[:4])]}),
        "no",
    ),
    "a history with times": lambda at: (
        json.dumps({"messages": [{"role": "user", "content": f"[2023-11-14T22:13:{line:02}Z] so?"} for line in range(at)]}),
        "no",
    ),
    "a transcript that grows": lambda at: (json.dumps({"prompt": "Who won?\n" + "Act: look\nSeen: nothing\n" * at}), "look"),
    "sampling": lambda at: (asks("read it", temperature=at / 10, max_tokens=at), "no"),
    "steps that are left": lambda at: (asks(f"You have {60 - at} steps left. Read it"), "no"),
    "steps that are done": lambda at: (asks(f"This is your {at + 20}th attempt. Read it"), "no"),
    "words of a search": lambda at: (
        json.dumps({"query": draw.choice(["x, ", "", "X? "]) + " ".join(draw.sample(WORDS, len(WORDS))) + " x"}),
        '{"hits":[]}',
    ),
    "the boundary of parts": lambda at: (f"--b{at}\r\nname: f\r\n\r\ntext\r\n--b{at}--\r\n", '{"ok":false}'),
    "the time of compression": lambda at: (gzip.compress(b'{"q": "read"}', mtime=at), '{"rows":[]}'),
    "an envelope": lambda at: (
        f"<MessageID>urn:uuid:{random_id()}</MessageID><Created>2023-11-14T22:13:{at % 60:02}Z</Created><Get/>",
        f"<RelatesTo>{random_id()}</RelatesTo><Fault>no</Fault>",
    ),
    "secrets of one request": lambda at: (
        f"q=read&timestamp={1_700_000_000 + at}&signature={random_id()}&csrf_token=a{at}",
        "no",
    ),
    "a stream in other pieces": lambda at: (
        asks("read it", stream=True),
        "".join(f"data: {json.dumps({'id': f'chatcmpl-{at:08}', 'delta': {'content': part}})}\n\n" for part in cut("I cannot")),
    ),
    "words beside the call of a tool": lambda at: (
        asks("read it"),
        json.dumps(
            {"content": text(5), "tool_plan": text(5), "tool_calls": [{"id": f"call_{at:09}", "function": {"name": "read"}}]}
        ),
    ),
    "what an answer took and used": lambda at: (
        asks("read it"),
        json.dumps({"text": "no", "finishedAt": at, "pid": at, "usageMetadata": {"thoughts": at}}),
    ),
    "its duration": lambda at: (asks("read it"), json.dumps({"text": "no", "eval_duration": at})),
    "its elapsed time": lambda at: (asks("read it"), json.dumps({"text": "no", "elapsed_ms": at})),
    "its latency": lambda at: (asks("read it"), json.dumps({"text": "no", "latency": at})),
    "an error in other words of itself": lambda at: (
        asks("read it"),
        json.dumps({"error": f"no file after {at} ms, see req_{at}a", "at": f"2023-11-14T22:13:{at % 60:02}Z"}),
    ),
    "cursors of the same page": lambda at: (
        json.dumps({"cursor": secret(), "limit": 2}),
        json.dumps({"items": ["a", "b"], "next_cursor": secret()}),
    ),
    "the clock in words": lambda at: (
        asks(f"Current date and time: November {at % 28 + 1}, 2023 22:13:{at % 60:02}. Read it"),
        "no",
    ),
    "a summary of what was said": lambda at: (
        json.dumps({"messages": [{"content": f"Summary of the work: {text(5)}", "role": "system"}, *turn(1, "no")[1:]]}),
        "no",
    ),
    "identifiers of messages": lambda at: (
        json.dumps({"messages": [{"content": "read it", "id": random_id(), "type": "human"}]}),
        json.dumps({"messages": [{"content": "no", "id": random_id()}], "token_usage": {"total": at}}),
    ),
    "a query with names": lambda at: (
        json.dumps({"operationName": f"Q{at}", "query": f"query Q{at} {{ a{at}: job(id: 7) {{ state }} }}"}),
        json.dumps({"data": {f"a{at}": None}}),
    ),
    "traces": lambda at: (json.dumps({"traceparent": random_id(), "progressToken": secret(), "q": "read"}), "no"),
    "dates of a mail": lambda at: (
        json.dumps({"Date": f"Sat, 28 Nov 2026 10:{at % 60:02}:00 GMT", "text": "read"}),
        json.dumps({"id": f"<{random_id()}@example.com>", "message": "sent"}),
    ),
    "a screenshot of an error": lambda at: (asks("read it"), json.dumps({"ok": False, "screenshot": secret() * 20})),
    "hits in another order": lambda at: (
        json.dumps({"vector": [1, 2]}),
        json.dumps(
            {"hits": [{"id": name, "score": round(0.25 + draw.random() * 1e-6, 8)} for name in draw.sample(WORDS[:3], 3)]}
        ),
    ),
    "its steps and shards": lambda at: (
        asks("read it"),
        json.dumps({"name": f"step {at}", "step_id": random_id(), "output": "no", "_shards": {"skipped": at}}),
    ),
    "how long a test took": lambda at: (asks("read it"), json.dumps({"out": f"1 failed in {at / 7:.2f}s"})),
    "where an object lies": lambda at: (asks("read it"), json.dumps({"out": f"<f at 0x{at:012x}>"})),
    "a form against forgery": lambda at: (
        f"csrfmiddlewaretoken=a{at}&user=me",
        f'<input name="csrf_token" value="{random_id()}"><p>Wrong</p>',
    ),
    "times of an answer": lambda at: (
        asks("read it"),
        json.dumps(
            {"id": f"chatcmpl-{draw.getrandbits(64)}", "text": "no", "usage": {"total_time": draw.random()}, "took": at}
        ),
    ),
    "calls of a tool by their numbers": lambda at: (
        json.dumps(
            {
                "messages": [{"role": "user", "content": "read it"}]
                + [
                    message
                    for call in range(at)
                    for message in (
                        {"role": "assistant", "tool_calls": [{"id": f"{call}", "function": {"name": "read"}}]},
                        {"role": "tool", "tool_call_id": f"{call}", "content": "not found"},
                    )
                ]
            }
        ),
        json.dumps({"tool_calls": [{"id": secret(), "function": {"name": "read"}}]}),
    ),
    "for whom it is asked": lambda at: (asks("Which blockers has this release? As JSON.", user=random_id()), "none"),
    "names in a mutation": lambda at: (
        json.dumps({"query": f'mutation {{ m{at}: like(post: "7") {{ ok }} }}'}),
        json.dumps({"data": {f"m{at}": None}}),
    ),
    "pages past the end": lambda at: (
        json.dumps({"offset": 500 + 50 * at, "limit": 50}),
        json.dumps({"items": [], "offset": 500 + 50 * at, "total": 480}),
    ),
    "envelopes of events": lambda at: (
        json.dumps({"specversion": "1.0", "id": random_id(), "source": "/a", "time": "2026-11-28T10:00:00+0100"}),
        '{"accepted":"no"}',
    ),
    "a nonce in its answer": lambda at: (
        json.dumps({"nonce": f"{at}", "text": "read"}),
        json.dumps({"seen": 3, "nonce": f"{at}"}),
    ),
    "a field of parts": lambda at: (
        f'--b{at}\r\nContent-Disposition: form-data; name="requestId"\r\n\r\n{secret()}\r\n--b{at}--\r\n',
        '{"rows":[]}',
    ),
    "an envelope with attributes": lambda at: (
        f'<Envelope><u:Created xmlns:u="u">2026-11-28T10:00:{at % 60:02}Z</u:Created><Get/></Envelope>',
        f"<Envelope><MessageID>urn:uuid:{random_id()}</MessageID><Result>no</Result></Envelope>",
    ),
    "a clock as it is shown": lambda at: (
        json.dumps({"timestamp": f"11/28/2026, 1:05:{at % 60:02} PM", "sent_at": f"28.11.2026 10:00:{at % 60:02}"}),
        "no",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_stopped_within_twenty_calls_whatever_varies_in_it(name: str) -> None:
    assert granted(LOOPS[name], number=30) in range(8, 21)


#: Requests that are about different things, and are answered alike.
USES: Final[dict[str, Calls]] = {
    "amounts": lambda at: (asks(f"Is an invoice of {draw.randrange(10**4, 10**6)} EUR suspicious?"), "no"),
    "small numbers": lambda at: (asks(f"Is {at} even? May a person aged {at} vote?"), "no"),
    "numbered pages": lambda at: (
        json.dumps({"jsonrpc": "2.0", "id": at, "method": "tools/call", "params": {"name": "grep", "path": f"logs/{at}.log"}}),
        json.dumps({"jsonrpc": "2.0", "id": at, "result": "none"}),
    ),
    "statements that are no search": lambda at: (json.dumps({"query": f"a {'=' * at}> b"}), '{"rows":0}'),
    "searches for other words": lambda at: (json.dumps({"query": f"{WORDS[at % 10]} {WORDS[at // 10]}"}), '{"hits":[]}'),
    "an error that counts down": lambda at: ('{"job":7}', json.dumps({"progress": at, "error": "slow"})),
    "streams that say something else": lambda at: (
        asks("go on", stream=True),
        f'data: {{"delta":{{"content":"{text(9)}"}}}}\n\n',
    ),
    "calls of tools that differ": lambda at: (
        asks("go on"),
        json.dumps({"content": "Well", "tool_calls": [{"id": "call_a1b2c3d4", "function": {"arguments": f"{text(3)}"}}]}),
    ),
    "prices": lambda at: (asks(f"Is {draw.random() * 90:.2f} EUR too much?"), "no"),
    "measurements": lambda at: (json.dumps({"sensor": 5, "ts": 1_700_000_000 + at, "value": draw.random()}), '{"ok":true}'),
    "places": lambda at: (json.dumps({"at": [draw.random() * 90, draw.random() * 90]}), '{"alerts":[]}'),
    "balances": lambda at: (
        json.dumps({"jsonrpc": "2.0", "id": at, "method": "eth_getBalance", "params": [f"0x{draw.getrandbits(160):040x}"]}),
        json.dumps({"jsonrpc": "2.0", "id": at, "result": "0x0"}),
    ),
    "things by their number": lambda at: (json.dumps({"variables": {"id": at}, "query": "q"}), '{"data":{"user":null}}'),
    "things by their identifier": lambda at: (json.dumps({"order_id": random_id()}), '{"found":false}'),
    "mails": lambda at: (json.dumps({"to": f"user{at}@example.com"}), '{"status":"queued"}'),
    "names of users": lambda at: (json.dumps({"name": f"user{at}", "role": "member"}), '{"ok":true}'),
    "titles": lambda at: (json.dumps({"title": f"Ticket {at}"}), '{"ok":true}'),
    "lines": lambda at: (json.dumps({"title": f"Line n {at}"}), '{"ok":true}'),
    "new events": lambda at: ('{"feed":7}', json.dumps({"events": [{"time": 1_700_000_000 + at + more} for more in range(2)]})),
    "files": lambda at: (json.dumps({"filename": f"img_{at:04}.png"}), '{"ok":true}'),
    "keys of a store": lambda at: (json.dumps(["SET", f"user:{at}", "x"]), '{"result":"OK"}'),
    "whole measurements": lambda at: (json.dumps({"sensor": 5, "ts": 1_700_000_000 + at, "value": at % 40}), '{"ok":true}'),
    "points": lambda at: (json.dumps({"x": at, "y": at * at}), '{"ok":true}'),
    "quantities": lambda at: (f"sku=A&quantity={at}", '{"ok":true}'),
    "statements": lambda at: (json.dumps({"sql": f"UPDATE t SET done = 1 WHERE id = {at}"}), '{"rows":1}'),
    "days": lambda at: (json.dumps({"date": f"2024-{at // 28 + 1:02}-{at % 28 + 1:02}"}), '{"rows":0}'),
    "hours": lambda at: (json.dumps({"from": f"2024-01-{at // 24 + 1:02}T{at % 24:02}:00:00Z"}), '{"rows":0}'),
    "things of any name": lambda at: (json.dumps({"item": random_id()}), '{"ok":true}'),
    "devices": lambda at: (json.dumps({"token": f"{draw.getrandbits(128):032x}"}), '{"ok":true}'),
    "addresses": lambda at: (json.dumps({"ip": f"10.0.0.{at}", "url": f"https://example.com/{at}"}), '{"blocked":false}'),
    "numbers of phones": lambda at: (json.dumps({"to": f"+1415555{at:04}"}), '{"status":"queued"}'),
    "texts to moderate": lambda at: (asks(text(9)), '{"flagged":false}'),
    "a chat": lambda at: (asks("\n".join(text(3) for _ in range(at + 1))), "Sure."),
    "a conversation that goes on": lambda at: (
        json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "go on"}, *turn(at, *(text(4) for _ in range(60)))]}
        ),
        "next",
    ),
    "numbers in a conversation": lambda at: (
        json.dumps({"model": "m", "messages": turn(at + 1, *(f"line {line}" for line in range(61)))}),
        "ok",
    ),
    "cursors of an empty list": lambda at: (json.dumps({"cursor": secret()}), json.dumps({"items": [], "cursor": secret()})),
    "names of queries": lambda at: (
        json.dumps({"query": f"{{ a{at}: job(id: {at}) {{ state }} }}"}),
        json.dumps({"data": {f"a{at}": None}}),
    ),
    "windows of a statement": lambda at: (
        json.dumps(
            {"sql": f"SELECT 1 FROM t WHERE ts >= '2023-11-14T22:{at:02}:00Z' AND created > '2023-11-14T22:{at:02}:30Z'"}
        ),
        '{"rows":[]}',
    ),
    "dates": lambda at: (asks(f"Who was born on November {at % 28 + 1}, {1900 + at} at 22:13?"), "no"),
    "summaries": lambda at: (
        json.dumps({"messages": [*turn(1, "no"), {"content": f"Summary of the work: {text(5)}", "role": "user"}]}),
        "no",
    ),
    "prices in pips": lambda at: ('{"pair":"EURUSD"}', json.dumps({"bid": 1.08 + at / 10**5})),
    "access tokens": lambda at: ("grant_type=client_credentials", json.dumps({"access_token": secret()})),
    "sessions that are made": lambda at: ('{"model":"m"}', json.dumps({"id": random_id(), "object": "session"})),
    "pages": lambda at: (json.dumps({"page": at}), json.dumps({"items": [at * 50 + number for number in range(5)]})),
    "rows": lambda at: ('{"index":{}}\n' + json.dumps({"n": draw.randrange(9**9)}) + "\n", '{"errors":false,"items":[3]}'),
    "hours of a report": lambda at: (json.dumps({"time": f"2026-01-{at // 24 + 1:02}T{at % 24:02}:00:00Z"}), '{"rows":0}'),
    "days in seconds": lambda at: (json.dumps({"ts": 1_764_288_000 + 86_400 * at}), '{"rows":0}'),
    "messages by their numbers": lambda at: (json.dumps({"message_id": at, "label": "spam"}), '{"labels":["spam"]}'),
    "traces by their identifiers": lambda at: (json.dumps({"traceId": random_id()}), '{"spans":[]}'),
    "pieces of a file": lambda at: (json.dumps({"offset": 4_096 * at, "limit": 4_096}), '{"findings":[],"count":0}'),
    "pages of a document": lambda at: (json.dumps({"document": 4, "page": at}), '{"tables":[],"total_pages":60}'),
    "first pages": lambda at: (json.dumps({"of": f"c{at}", "page": 1, "limit": 9}), '{"items":[],"has_more":false}'),
    "greetings": lambda at: (asks("hi", user=random_id()), "Hello!"),
    "calls of phones": lambda at: (json.dumps({"call_id": f"call_{at}"}), '{"mood":"neutral"}'),
    "calls of phones in words": lambda at: (asks(f"Is the customer of call_{at} angry?"), "no"),
}


@pytest.mark.parametrize("name", USES)
def test_requests_about_different_things_are_no_loop_though_they_are_answered_alike(name: str) -> None:
    assert 60 == granted(USES[name])


def test_what_is_named_is_found_from_its_digits_as_it_is_from_its_words() -> None:
    atoms = r'step|a|b|i|-|--|_|"|"":"|=|:|(|>|3|17|1700000000|a3|urn:uuid:|\|traceId|try|ts|,|max_tokens| | 12:30'
    parts = [*atoms.split("|"), "x" * 45]
    random = Random(7)
    for _ in range(2_000):
        body = "".join(random.choices(parts, k=random.randrange(2, 14))).encode()
        found: tuple[list[bytes], list[bytes]] = [], []
        words = volatile._NAMED.sub(partial(volatile._counter, found[0]), body)
        assert (words, found[0]) == (volatile.uncounted(body, found[1]), found[1])


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        (("https://a.example/caf%c3%a9?b=2&a=%41", "{}"), ("https://a.example/cafe%CC%81?a=A&b=2", "{}"), "exact"),
        (("https://a.example/", "b=2&a=x+y"), ("https://a.example/", "a=x%20y&b=2"), "exact"),
        (
            ("https://a.example/", '{"n": 1.0, "t": "caf\\u00e9"}'),
            ("https://a.example/", '{"t": "cafe\u0301", "n": 1}'),
            "exact",
        ),
        (
            ("https://s3.example/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature=ab&x=1", "b"),
            ("https://s3.example/k?X-Amz-Date=20260102T000000Z&X-Amz-Signature=cd&x=1", "b"),
            "exact",
        ),
        (("https://a.example/?sig=a%2B&se=2026&x=1", "b"), ("https://a.example/?sig=b&se=2027&x=1", "b"), "exact"),
        (
            ("https://a.example/", "timestamp=17&a=1&signature=ab"),
            ("https://a.example/", "timestamp=18&a=1&signature=c"),
            "exact",
        ),
        (
            (f"https://a.example/sessions/{uuid.UUID(int=7)}/run", "x"),
            (f"https://a.example/sessions/{uuid.UUID(int=8)}/run", "x"),
            "shape",
        ),
        (("https://a.example/jobs/7/attempt/1", "x"), ("https://a.example/jobs/7/attempt/2", "x"), "shape"),
        (("https://a.example/attempts/1", "x"), ("https://a.example/attempts/2", "x"), ""),
        (("https://a.example/?r=0.123456789012345", "x"), ("https://a.example/?r=0.9876543210987", "x"), "shape"),
        (("https://a.example/?a=1%262", "x"), ("https://a.example/?a=1&2", "x"), ""),
        (("https://a.example/a%2Fb", "x"), ("https://a.example/a/b", "x"), ""),
        (("https://a.example/?date=1&x=1", "b"), ("https://a.example/?date=2&x=1", "b"), ""),
        (("https://a.example/?sig=a&x=1", "b"), ("https://a.example/?sig=a&x=2", "b"), ""),
        (("https://a.example/", "a=x+y"), ("https://a.example/", "a=x%2By"), ""),
        (("https://a.example/", '{"n": 1.5}'), ("https://a.example/", '{"n": 1}'), ""),
        (
            (f"https://a.example/sessions/{uuid.UUID(int=7)}/close", ""),
            (f"https://a.example/sessions/{uuid.UUID(int=8)}/close", ""),
            "",
        ),
    ],
)
def test_requests_that_say_the_same_in_other_words_have_one_fingerprint(
    one: tuple[str, str], another: tuple[str, str], same: str
) -> None:
    first, second = PRINTS.request("POST", *one), PRINTS.request("POST", *another)

    assert (same == "exact", same in {"exact", "shape"}) == (first.exact == second.exact, first.shape == second.shape)


@pytest.mark.parametrize(
    ("url", "body", "polls"),
    [
        ("https://queue.example/v1/receive", '{"max": 10}', True),
        ("https://locks.example/nightly/acquireLock", "{}", True),
        ("https://sqs.example/", "Action=ReceiveMessage&Version=2012-11-05", True),
        ("https://mcp.example/", '{"jsonrpc": "2.0", "id": 1, "method": "ping"}', True),
        ("https://example.com/mapping", "{}", False),
        ("https://example.com/unlock", "{}", False),
        ("https://example.com/block", '{"text": "ping"}', False),
    ],
)
def test_a_request_that_waits_for_something_is_known_by_its_name(url: str, body: str, polls: bool) -> None:
    assert polls == PRINTS.request("POST", url, body).polls


@pytest.mark.parametrize(
    ("url", "body", "waits"),
    [
        ("https://sqs.example.com/", '{"QueueUrl": "q", "WaitTimeSeconds": 20}', True),
        ("https://sqs.example.com/", "Action=ReceiveMessage&WaitTimeSeconds=20", True),
        ("https://telegram.example.org/getUpdates", '{"offset": 5, "timeout": 30}', True),
        ("https://example.com/poll?timeout=30", None, True),
        ("https://example.com/poll", '{"timeout": 0}', False),
        ("https://example.com/run", '{"command": "pytest", "timeout": 60}', False),
        # Text with half of a surrogate pair, as programs cut it.
        ("https://example.com/\ud83d?q=\ud83d", "\ud83d&timeout=30", True),
        ("https://example.com/chat", '{"messages": [{"role": "user", "content": "wait: 5 pollings, timeout=3"}]}', False),
    ],
)
def test_a_request_that_asks_the_server_to_answer_later_is_known(url: str, body: str | None, waits: bool) -> None:
    assert waits == PRINTS.request("POST", url, body).waits


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ('{"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": ["0xa1"]}', True),
        ('{"jsonrpc": "2.0", "id": 1, "method": "getSignatureStatuses"}', True),
        ('{"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0xa1"]}', False),
        ('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get"}}', False),
        ('{"query": "query Status { job(id: 7) { status } }", "variables": {"id": 7}, "operationName": "Status"}', True),
        ('{"query": "\\n  { job { status } }"}', True),
        ('{"query": "mutation { like(post: 7) { ok } }"}', False),
        ('{"query": "weather in Berlin"}', False),
        ('{"input": {"query": "{ job }"}}', False),
        ("Action=DescribeInstances&Version=2016-11-15", True),
        ("Action=RunInstances&Version=2016-11-15", False),
    ],
)
def test_a_request_that_only_reads_is_known(body: str, reads: bool) -> None:
    assert reads == PRINTS.request("POST", "https://api.example.com/", body).reads


@pytest.mark.parametrize(
    ("answer", "pending", "acknowledges"),
    [
        ('{"status": "pending"}', True, False),
        ('{"data":{"run":{"runStatus":"IN_PROGRESS"}}}', True, False),
        ('{"result":{"content":[{"text":"{\\"status\\": \\"running\\"}"}]}}', True, False),
        ('{"state": "QUEUED_FOR_BUILD"}', True, False),
        ('{"status": "awaiting review"}', True, False),
        ('{"name": "operations/1", "done": false}', True, False),
        ('{"status": "missing"}', False, False),
        ('{"status": "done", "text": "it was pending"}', False, False),
        ('{"status":"pending"}' + " " * 2_048, False, False),
        ('{"ok":true}', False, True),
        ('{"status": "OK"}', False, True),
        ('{"accepted": 1, "rejected": 0}', False, True),
        ("{}", False, True),
        ("ok", False, True),
        ('{"ok":false}', False, True),
        ('{"ok":false,"error":"quota"}', False, False),
        ('{"enabled":false}', False, False),
        ('{"hits":[]}', False, False),
        ("no", False, False),
    ],
)
def test_what_an_answer_says_of_the_work_is_known(answer: str, pending: bool, acknowledges: bool) -> None:
    assert (pending, acknowledges) == (fingerprints.is_pending(answer.encode()), fingerprints.acknowledges(answer.encode()))


@pytest.mark.parametrize("made", [random_id, lambda: secret()[:16], lambda: "k." + secret()])
def test_things_that_are_made_alike_say_the_same_whatever_their_identifiers(made: Callable[[], str]) -> None:
    asked = PRINTS.request("POST", "https://api.example.com/", "{}")
    (one, said), (other, again) = (PRINTS.answer_and_gist(201, f'{{"made": "{made()}"}}'.encode(), asked) for _ in range(2))

    assert (False, True) == (one == other, said == again)
