"""Governed clients of boto3: a permit before each signature, retries by the settings, outcomes of streams."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from governor import CounterRecord, Governor, PermitDenied, ProviderCooldown, Reason, UsageError
from governor.testing import denying
from tests.support.governors import only_retries
from tests.support.provider import NO_ANSWER, Provider, Reply, loopback_provider, raw, status, stream

boto3 = pytest.importorskip("boto3", reason="`make test-sdks` installs it")

PATH = "/bucket/key"
Clients = Callable[..., Any]


@pytest.fixture
def site() -> Iterator[Provider]:
    with loopback_provider() as provider:
        yield provider


@pytest.fixture
def background() -> Iterator[Governor]:
    with Governor(only_retries("1ms")) as governor:
        yield governor


@pytest.fixture
def clients(site: Provider, background: Governor) -> Clients:
    """Makes governed clients of a service, with the retries of botocore as they come."""

    def clients(service: str, **options: Any) -> Any:
        from governor_client.botocore import govern

        config = boto3.session.Config(read_timeout=5.0, s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        client = boto3.client(service, endpoint_url=site.url, region_name="eu-west-1", config=config, **keys)
        return govern(client, **{"provider": "aws", "governor": background, "govern_loopback": True, **options})

    return clients


@pytest.fixture
def s3(clients: Clients) -> Clients:
    """The same for S3."""
    return partial(clients, "s3")


@pytest.mark.promise("R05", "R59")
@pytest.mark.parametrize("outage", [status(503), NO_ANSWER])
def test_each_attempt_takes_a_permit_before_it_is_signed(
    s3: Clients, site: Provider, background: Governor, outage: Any
) -> None:
    site.at(PATH, outage)
    client = s3()
    granted_when_signed = []
    client.meta.events.register(
        "before-sign.s3", lambda **_: granted_when_signed.append(background.statistics().counters.requests)
    )

    with pytest.raises(Exception, match=r"503|closed"):
        client.put_object(Bucket="bucket", Key="key", Body=io.BytesIO(b"abc"))

    assert [1, 2, 3] == granted_when_signed
    assert [b"abc"] * 3 == [request.body[-3:] if request.body else b"" for request in site.to(PATH)]
    counted = background.statistics().counters
    assert (3, 2, 3) == (counted.requests, counted.retries, counted.answered_5xx + counted.failures)


@pytest.mark.promise("R58")
def test_a_denial_is_an_error_of_botocore_and_ours(s3: Clients, site: Provider, background: Governor) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    with denying(background, "aws", "GET", retry_after=7.0):
        with pytest.raises(PermitDenied) as raised:
            s3().get_object(Bucket="bucket", Key="key")
        with pytest.raises(ClientError) as answered:
            s3(on_refusal="response").get_object(Bucket="bucket", Key="key")

    assert isinstance(raised.value, BotoCoreError)
    assert {Reason.RATE_LIMIT: 2} == background.statistics().counters.denied
    assert 429 == answered.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert [] == site.requests


@pytest.mark.promise("R05")
def test_the_last_answer_counts_if_the_retry_gets_no_permit(s3: Clients, site: Provider) -> None:
    from botocore.exceptions import ClientError

    site.at(PATH, status(503))
    with Governor(only_retries("1ms", limits=["1/h burst 1"])) as governor, pytest.raises(ClientError) as raised:
        s3(governor=governor).get_object(Bucket="bucket", Key="key")

    assert 503 == raised.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert 1 == len(site.requests)


@pytest.mark.promise("R05")
def test_what_botocore_repeats_by_its_own_rules_takes_permits(s3: Clients, site: Provider, background: Governor) -> None:
    throttled = status(400, b"<Error><Code>ThrottlingException</Code></Error>")
    site.at(PATH, throttled, throttled, status(200, b"pong"))

    assert b"pong" == s3().get_object(Bucket="bucket", Key="key")["Body"].read()
    assert 3 == len(site.requests)
    counters = background.statistics().counters
    assert CounterRecord(requests=3, answered_4xx=2, answered_429=2, answered_2xx=1, retries=2) == counters


#: Bad chunks, which come after the head.
BROKEN = "HTTP/1.1 {} X\r\nretry-after: 60\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"


@pytest.mark.promise("R06", "R11")
@pytest.mark.parametrize(
    ("service", "call", "reply", "counted"),
    [
        ("s3", "list_buckets", raw(BROKEN.format(503).encode()), "failures"),
        ("s3", "list_buckets", raw(BROKEN.format(200).encode()), "failures"),
        ("s3", "list_objects", raw(BROKEN.format(404).encode()), "failures"),
        ("s3", "get_object", raw(BROKEN.format(503).encode()), "failures"),
        ("s3", "list_buckets", status(200, b"<Error><Code>InternalError</Code></Error>", retry_after="60"), "answered_5xx"),
        ("sts", "get_caller_identity", status(503, b"No XML", retry_after="60"), "answered_5xx"),
        ("sts", "get_caller_identity", status(200, b"No XML", retry_after="60"), "answered_2xx"),
    ],
)
def test_a_hint_holds_the_provider_if_the_body_breaks_off_or_cannot_be_parsed(
    clients: Clients, site: Provider, background: Governor, service: str, call: str, reply: Reply, counted: str
) -> None:
    site.at("*", reply)
    client = clients(service)
    key = {"get_object": {"Bucket": "bucket", "Key": "key"}, "list_objects": {"Bucket": "bucket"}}.get(call, {})

    with pytest.raises(Exception, match=r"closed|parse|InternalError"):
        getattr(client, call)(**key)
    with pytest.raises(ProviderCooldown):
        getattr(client, call)(**key)

    assert 1 == len(site.requests)
    counters = background.statistics().counters
    assert (1, 1) == (counters.requests, getattr(counters, counted))


@pytest.mark.promise("R05")
def test_a_write_is_repeated_that_the_server_did_not_process_though_its_answer_breaks_off(
    clients: Clients, site: Provider
) -> None:
    site.at("*", raw(BROKEN.format(503).replace("after: 60", "after-ms: 5").encode()))

    with pytest.raises(Exception, match="closed"):
        clients("sts").get_caller_identity()

    assert ["POST"] * 3 == [request.method for request in site.requests]


@pytest.mark.promise("R11")
def test_a_call_for_credentials_does_not_hide_the_hint_of_the_call_that_needs_them(clients: Clients, site: Provider) -> None:
    site.at("/", status(200, b"<R><GetCallerIdentityResult/></R>"), raw(BROKEN.format(503).encode()))
    credentials, s3 = clients("sts", provider="credentials"), clients("s3")
    s3.meta.events.register_first("before-sign.s3", lambda **_: credentials.get_caller_identity())

    with pytest.raises(Exception, match="closed"):
        s3.list_buckets()

    assert ["POST", "GET"] == [request.method for request in site.requests]


@pytest.mark.promise("R06")
def test_a_body_that_cannot_be_read_says_nothing_about_the_provider(s3: Clients, site: Provider, background: Governor) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if sending:
                raise OSError("the disk of the program")
            return super().read(size)

    sending: list[object] = []  # It is read before as well, for the signature.
    client = s3()
    client.meta.events.register("before-send.s3", lambda **_: sending.append(None))
    with pytest.raises(Exception, match="closed"):
        client.put_object(Bucket="bucket", Key="key", Body=Broken(b"abc"))

    assert CounterRecord(requests=1, neutral=1) == background.statistics().counters


@pytest.mark.promise("R05")
@pytest.mark.parametrize("read", ["read", "close"])
def test_a_stream_reports_its_outcome_when_it_ends_or_is_closed(
    s3: Clients, site: Provider, background: Governor, read: str
) -> None:
    site.at(PATH, stream(b"ab", b"c"))
    body = s3().get_object(Bucket="bucket", Key="key")["Body"]
    assert CounterRecord(requests=1) == background.statistics().counters

    getattr(body, read)()

    assert CounterRecord(requests=1, answered_2xx=1) == background.statistics().counters


def test_a_client_is_governed_once(s3: Clients) -> None:
    from governor_client.botocore import govern

    with pytest.raises(UsageError, match="already"):
        govern(s3(), "aws")
