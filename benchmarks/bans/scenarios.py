"""The scenarios: providers with documented rules, and programs that want more than these allow.

The rules follow what providers document: windows of a minute at a time of the provider's choice, points with a cost for each
method and secondary limits (GitHub), tokens per minute (OpenAI, Anthropic), a limit per minute that is enforced by the second
(OpenAI), a ban after 10,000 answers of 401, 403 and 429 in ten minutes (Discord), and bans that lengthen while requests go on.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from benchmarks.bans import hints
from benchmarks.bans.calls import POST, Call, Workload, azure, generated, long, mooncake, quick
from benchmarks.bans.contract import Said, Scenario
from benchmarks.bans.hints import Hints
from benchmarks.bans.limits import AtWork, Bucket, FixedWindow, SlidingWindow, seconds
from benchmarks.bans.network import Latency
from benchmarks.bans.provider import FORBIDDEN, BanRule, Provider, Rule, Span

_HOUR: Final = seconds(3600)
_MINUTE: Final = seconds(60)
#: Bans of a provider that tolerates bursts, of one that tolerates next to nothing, and of one with a published threshold.
_STERN: Final = BanRule(tolerated=30, per=_MINUTE, spell=seconds(300), lengthens=seconds(2))
_TOUCHY: Final = BanRule(tolerated=5, per=_MINUTE, spell=seconds(600), lengthens=seconds(10))
_DISCORD: Final = BanRule(tolerated=10_000, per=seconds(600), spell=_HOUR)

Make = Callable[[int, Hints], Provider]


def _policy(name: str, *limits: str, arrival_margin: str = "220ms") -> dict[str, object]:
    """Limits as the provider documents them, and the latest arrival of a request on this network."""
    return _of_provider(name, {"limits": list(limits)}, arrival_margin)


def _of_provider(name: str, settings: Mapping[str, object], arrival_margin: str = "220ms") -> dict[str, object]:
    return {
        "global": {"requests_per_minute": "off"},
        "provider": {name: settings},
        "outbound": {name: {"limits": [], "arrival_margin": arrival_margin}},
    }


def _offset(seed: int, per: int) -> int:
    return Random(seed + 7).randrange(per)


def _fixed(amount: int, per: int, ban: BanRule = _STERN) -> Make:
    return lambda seed, say: Provider(
        [Rule(name="requests", limit=FixedWindow(amount, per, _offset(seed, per)))], ban=ban, hints=say
    )


def _sliding(amount: int, per: int, ban: BanRule = _STERN, outage: Span | None = None, revoked: Span | None = None) -> Make:
    return lambda seed, say: Provider(
        [Rule(name="requests", limit=SlidingWindow(amount, per))], ban=ban, hints=say, outage=outage, revoked=revoked
    )


def _points(call: Call) -> int:
    return 5 if call.method == POST else 1


def _content(call: Call) -> int:
    return int(call.method == POST)


def _github(seed: int, say: Hints) -> Provider:
    """GitHub's REST API with a token: 5,000 an hour, 900 points a minute, 80 and 500 content creations, 100 at work."""
    secondary = seconds(60)
    rules = [
        Rule(name="requests", limit=FixedWindow(5000, _HOUR, _offset(seed, _HOUR)), status=FORBIDDEN),
        Rule(name="points", limit=FixedWindow(900, _MINUTE, _offset(seed, _MINUTE)), cost=_points, wait=secondary),
        Rule(
            name="content",
            limit=FixedWindow(80, _MINUTE, _offset(seed + 1, _MINUTE)),
            cost=_content,
            status=FORBIDDEN,
            wait=secondary,
        ),
        Rule(
            name="content-hour",
            limit=FixedWindow(500, _HOUR, _offset(seed + 2, _HOUR)),
            cost=_content,
            status=FORBIDDEN,
            wait=secondary,
        ),
        Rule(name="concurrency", limit=AtWork(100), status=FORBIDDEN, wait=secondary),
    ]
    return Provider(rules, ban=_STERN, hints=say)


def _tokens(per_minute: int, requests: int) -> Make:
    """Tokens are counted on arrival, as the prompt and the most that the answer may have."""

    def make(seed: int, say: Hints) -> Provider:
        rules = [
            Rule(name="requests", limit=SlidingWindow(requests, _MINUTE)),
            Rule(name="tokens", limit=Bucket(per_minute, _MINUTE, per_minute), cost=lambda call: call.prompt + call.max_tokens),
        ]
        return Provider(rules, ban=_STERN, hints=say)

    return make


def _used_tokens(seed: int, say: Hints) -> Provider:
    """The tokens of prompts and of answers are counted apart, as many as there really are."""
    rules = [
        Rule(name="requests", limit=SlidingWindow(300, _MINUTE)),
        Rule(name="input_tokens", limit=Bucket(450_000, _MINUTE, 450_000), cost=lambda call: call.prompt),
        Rule(name="output_tokens", limit=Bucket(60_000, _MINUTE, 60_000), cost=lambda call: call.output),
    ]
    return Provider(rules, ban=_STERN, hints=say)


def _at_work(requests: int, at_work: int) -> Make:
    def make(seed: int, say: Hints) -> Provider:
        rules = [
            Rule(name="requests", limit=SlidingWindow(requests, _MINUTE)),
            Rule(name="concurrency", limit=AtWork(at_work), wait=seconds(5)),
        ]
        return Provider(rules, ban=_STERN, hints=say)

    return make


def _bucket(seed: int, say: Hints) -> Provider:
    return Provider([Rule(name="requests", limit=Bucket(100, seconds(1), 100))], ban=_STERN, hints=say)


def _scenario(
    name: str,
    title: str,
    *,
    minutes: float,
    workload: Workload,
    provider: Make,
    policy: Mapping[str, object],
    rate: tuple[int, float],
    say: Hints = hints.github,
    **more: object,
) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        span=seconds(60 * minutes),
        workload=workload,
        provider=provider,
        policy=policy,
        rate=rate,
        hints=say,
        said=Said.HINTS,
        **more,  # type: ignore[arg-type] # other fields of `Scenario`, such as `seeds`
    )


_BASE: Final[Sequence[Scenario]] = (
    _scenario(
        "fixed-minute",
        "60 a minute, in windows whose beginning is not known",
        minutes=60,
        workload=generated(1.1, quick(0.2, 0.8)),
        provider=_fixed(60, _MINUTE),
        policy=_policy("acme", "60 per minute strict"),
        rate=(60, 60.0),
        seeds=2,
        quick=True,
    ),
    _scenario(
        "slow",
        "10 a minute, in windows whose beginning is not known, for hours",
        minutes=180,
        workload=generated(0.18, quick(0.2, 0.8)),
        provider=_fixed(10, _MINUTE),
        policy=_policy("acme", "10 per minute strict"),
        rate=(10, 60.0),
    ),
    _scenario(
        "sliding-minute",
        "60 in any minute",
        minutes=30,
        workload=generated(1.2, quick(0.2, 0.8)),
        provider=_sliding(60, _MINUTE),
        policy=_policy("acme", "60 per minute strict"),
        rate=(60, 60.0),
        say=hints.retry_after,
        seeds=2,
    ),
    _scenario(
        "touchy",
        "30 in any minute; the sixth denial within a minute is a ban of ten minutes, which every request lengthens",
        minutes=30,
        workload=generated(0.6, quick(0.2, 0.8)),
        provider=_sliding(30, _MINUTE, _TOUCHY),
        policy=_policy("acme", "30 per minute strict"),
        rate=(30, 60.0),
        say=hints.ietf,
        seeds=2,
    ),
    _scenario(
        "by-the-second",
        "600 a minute, enforced as 10 in each second",
        minutes=8,
        workload=generated(8.0, quick(0.05, 0.3)),
        provider=_fixed(10, seconds(1)),
        policy=_policy("acme", "10 per second strict"),
        rate=(10, 1.0),
        seeds=2,
    ),
    _scenario(
        "bucket",
        "a token bucket of 100 that gains 100 a second",
        minutes=1,
        workload=generated(90.0, quick(0.05, 0.3)),
        provider=_bucket,
        policy=_policy("acme", "100/s burst 100"),
        rate=(100, 1.0),
        say=hints.retry_after,
    ),
    _scenario(
        "github",
        "GitHub with a token: an hour, points, content creation, at work",
        minutes=6.5,
        workload=generated(2.4, quick(0.1, 1.0), writes=0.5),
        provider=_github,
        policy=_of_provider("github", {"preset": "github/token"}),
        rate=(80, 60.0),
        provider_name="github",
    ),
    _scenario(
        "tokens",
        "400,000 tokens and 300 requests a minute, on the Azure trace",
        minutes=12,
        workload=azure(max_tokens=500),
        provider=_tokens(400_000, 300),
        policy=_of_provider(
            "openai",
            {"limits": ["300 per minute strict", "400000 tokens/minute burst 400000"], "tokens_counted": "reserved"},
        ),
        rate=(300, 60.0),
        say=hints.openai,
        provider_name="openai",
    ),
    _scenario(
        "tokens-used",
        "300 requests, 450,000 tokens of prompts and 60,000 of answers a minute, on the Azure trace",
        minutes=12,
        workload=azure(max_tokens=1000),
        provider=_used_tokens,
        policy=_policy(
            "anthropic",
            "300 per minute strict",
            "450000 input_tokens/minute burst 450000",
            "60000 output_tokens/minute burst 60000",
        ),
        rate=(300, 60.0),
        say=hints.retry_after,
        provider_name="anthropic",
    ),
    _scenario(
        "conversations",
        "20 at work and 200 requests a minute, on the Mooncake trace",
        minutes=30,
        workload=mooncake(speed=0.6),
        provider=_at_work(200, 20),
        policy=_policy("acme", "200 per minute strict", "20 in flight"),
        rate=(200, 60.0),
        say=hints.retry_after,
    ),
    _scenario(
        "long-calls",
        "60 in any minute, calls of 1 s to 10 min that are streamed",
        minutes=30,
        workload=generated(1.2, long(1, 600, streamed=True)),
        provider=_sliding(60, _MINUTE),
        policy=_policy("acme", "60 per minute strict"),
        rate=(60, 60.0),
        seeds=2,
    ),
    _scenario(
        "long-calls-whole",
        "60 in any minute, calls of 1 s to 10 min whose answers come whole",
        minutes=30,
        workload=generated(1.2, long(1, 600, streamed=False)),
        provider=_sliding(60, _MINUTE),
        policy=_policy("acme", "60 per minute strict"),
        rate=(60, 60.0),
        say=hints.retry_after,
    ),
    _scenario(
        "given-up",
        "20 in any second, and half of the calls are given up after 50 ms",
        minutes=4,
        workload=generated(18.0, quick(0.05, 0.3), give_up=0.5, give_up_after=0.05),
        provider=_sliding(20, seconds(1)),
        policy=_policy("acme", "20 per second strict"),
        rate=(20, 1.0),
        say=hints.retry_after,
    ),
    _scenario(
        "outage",
        "60 in any minute, and 503 for five minutes",
        minutes=30,
        workload=generated(0.9, quick(0.2, 0.8)),
        provider=_sliding(60, _MINUTE, outage=Span(seconds(600), seconds(900))),
        policy=_policy("acme", "60 per minute strict"),
        rate=(60, 60.0),
        say=hints.retry_after,
    ),
    _scenario(
        "over-http",
        "40 in any 2 seconds, over real HTTP in real time",
        minutes=0.2,
        workload=generated(22.0, quick(0.02, 0.1)),
        provider=_sliding(40, seconds(2)),
        policy=_policy("acme", "40 per 2s strict", arrival_margin="2s"),
        rate=(40, 2.0),
        latency=Latency(base=0, jitter=2_000),
        over_http=True,
    ),
    _scenario(
        "revoked",
        "a token that is not valid for 12 minutes; 10,000 answers of 401, 403 or 429 in ten minutes are a ban of an hour",
        minutes=15,
        workload=generated(6.0, quick(0.05, 0.2)),
        provider=_sliding(50, seconds(1), _DISCORD, revoked=Span(seconds(60), seconds(780))),
        policy=_policy("acme", "50 per second strict"),
        rate=(50, 1.0),
        say=hints.retry_after,
    ),
)


def _variants(base: Scenario) -> list[Scenario]:
    silent = msgspec.structs.replace(base, name=f"{base.name}/silent", hints=hints.silent, said=Said.NOTHING, seeds=1)
    return [base, silent]


def _wrong(base: Scenario) -> list[Scenario]:
    return [
        msgspec.structs.replace(base, name=f"{base.name}/{name}", hints=say, said=Said.WRONG, seeds=1, quick=False)
        for name, say in hints.WRONG.items()
    ]


#: Those whose hints are also absent.
_SILENT: Final = frozenset(
    {"fixed-minute", "slow", "sliding-minute", "touchy", "by-the-second", "github", "long-calls", "conversations"}
)

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for base in _BASE
    for scenario in [
        *(_variants(base) if base.name in _SILENT else [base]),
        *(_wrong(base) if base.name == "slow" else []),
    ]
}
