"""Drivers of the SDKs of other services, and of the HTTP libraries: each fetches one thing, which is called `pong`."""

from contextlib import closing, nullcontext
from typing import Any
from unittest.mock import patch

from tests.sdks.setup import TIMEOUT, Setup

PONG = {"login": "pong", "name": "pong", "id": "pong", "object": "customer", "ok": True, "ts": "pong"}


# GitHub.


def pygithub_call(setup: Setup) -> str:
    import github
    from github.Requester import Requester

    if setup.governor is not None:
        from governor_client.requests import govern

        class Governed(github.Requester.HTTPRequestsConnectionClass):  # type: ignore[misc]  # a class without types
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                govern(self.session, setup.provider, **setup.govern())

        Requester.injectConnectionClasses(Governed, Governed)
    try:
        auth = github.Auth.Token("token")
        options = {"seconds_between_requests": 0, **setup.without_retries(retry=None)}
        with closing(github.Github(auth=auth, base_url=setup.url, timeout=int(TIMEOUT), **options)) as sdk:
            said: str = sdk.get_user("ping").login
            return said
    finally:
        Requester.resetConnectionClasses()


def githubkit_client(setup: Setup) -> Any:
    import githubkit

    transports: dict[str, Any] = {}
    if setup.governor is not None:
        from governor_client.httpx import AsyncGovernedTransport, GovernedTransport

        transports = {
            "transport": GovernedTransport(setup.provider, **setup.govern()),
            "async_transport": AsyncGovernedTransport(setup.provider, **setup.govern()),
        }
    return githubkit.GitHub(
        "token", base_url=setup.url, timeout=TIMEOUT, **transports, **setup.without_retries(auto_retry=False)
    )


def githubkit_call(setup: Setup) -> str:
    said: str = githubkit_client(setup).request("GET", "/users/ping").json()["login"]
    return said


async def githubkit_async_call(setup: Setup) -> str:
    said: str = (await githubkit_client(setup).arequest("GET", "/users/ping")).json()["login"]
    return said


# Reddit.

TOKEN = {"access_token": "token", "token_type": "bearer", "expires_in": 3600, "scope": "*"}


def praw_call(setup: Setup) -> str:
    import praw
    import prawcore

    class Requestor(praw.reddit.Requestor):  # type: ignore[misc]  # a class without types
        """The addresses of Reddit are constants of the SDK."""

        def __init__(self, **options: Any) -> None:
            options |= {"oauth_url": setup.url, "reddit_url": setup.url, "timeout": TIMEOUT}
            super().__init__(**options)

    sdk = praw.Reddit(
        client_id="id",
        client_secret="secret",
        user_agent="tests of a governor",
        check_for_updates=False,
        requestor_class=Requestor,
        requestor_kwargs={"session": setup.requests_session()},
    )
    none = patch.multiple(prawcore.Session, RETRY_EXCEPTIONS=(), RETRY_STATUSES=())
    with sdk, nullcontext() if setup.own_retries else none:
        said: str = sdk.get("/ping", params={})["name"]
        return said


# Slack.


def slack_call(setup: Setup) -> str:
    from slack_sdk import WebClient

    sdk = WebClient("token", base_url=f"{setup.url}/api/", timeout=int(TIMEOUT), **setup.without_retries(retry_handlers=[]))
    if setup.governor is None:
        said: str = sdk.chat_postMessage(channel="c", text="ping")["ts"]
    else:
        with setup.governor.permit(setup.provider, "POST", timeout=TIMEOUT):
            said = sdk.chat_postMessage(channel="c", text="ping")["ts"]
    return said


async def slack_async_call(setup: Setup) -> str:
    from slack_sdk.web.async_client import AsyncWebClient

    async with setup.aiohttp_session() as session:
        sdk = AsyncWebClient("token", base_url=f"{setup.url}/api/", session=session, **setup.without_retries(retry_handlers=[]))
        said: str = (await sdk.chat_postMessage(channel="c", text="ping"))["ts"]
        return said


# Stripe.


def stripe_call(setup: Setup) -> str:
    import stripe

    client = stripe.RequestsClient(session=setup.requests_session(), timeout=TIMEOUT)
    sdk = stripe.StripeClient(
        "key",
        base_addresses={"api": setup.url},
        http_client=client,
        **setup.with_retries(max_network_retries=2),
    )
    said: str = sdk.v1.customers.retrieve("ping").id
    return said


# AWS.


def s3_call(setup: Setup) -> str:
    import boto3
    from botocore.config import Config

    retries = setup.without_retries(retries={"total_max_attempts": 1})
    client = boto3.client(
        "s3",
        endpoint_url=setup.url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, s3={"addressing_style": "path"}, **retries),
    )
    if setup.governor is not None:
        from governor_client.botocore import govern

        govern(client, setup.provider, **setup.govern())
    with closing(client):
        said: str = client.get_object(Bucket="bucket", Key="ping")["Body"].read().decode()
        return said


# Discord.


async def discord_call(setup: Setup) -> str:
    import asyncio

    import discord.http

    trace = None
    if setup.governor is not None:
        from governor_client.aiohttp import governing_trace

        trace = governing_trace(setup.provider, **setup.govern())
    discord.http.Route.BASE = setup.url
    sdk = discord.http.HTTPClient(asyncio.get_running_loop(), http_trace=trace)
    try:
        said: str = (await sdk.static_login("token"))["name"]
        return said
    finally:
        await sdk.close()


# The libraries themselves.


def requests_call(setup: Setup) -> str:
    with setup.requests_session() as session:
        response = session.get(f"{setup.url}/ping", timeout=TIMEOUT)
        response.raise_for_status()
        said: str = response.json()["name"]
        return said


def requests_stream(setup: Setup) -> str:
    said = []
    with setup.requests_session() as session, session.get(f"{setup.url}/ping", timeout=TIMEOUT, stream=True) as response:
        response.raise_for_status()
        for piece in response.iter_content(chunk_size=None):
            said.append(piece.decode())
            if not setup.reads(len(said)):
                break
    return "".join(said)


def urllib3_call(setup: Setup) -> str:
    response = setup.urllib3_pools().request("GET", f"{setup.url}/ping", **setup.without_retries(retries=False))
    if response.status >= 400:
        raise RuntimeError(f"status {response.status}")
    said: str = response.json()["name"]
    return said


def urllib3_stream(setup: Setup) -> str:
    said = []
    response = setup.urllib3_pools().request(
        "GET", f"{setup.url}/ping", preload_content=False, **setup.without_retries(retries=False)
    )
    try:
        if response.status >= 400:
            raise RuntimeError(f"status {response.status}")
        for piece in response.stream():
            said.append(piece.decode())
            if not setup.reads(len(said)):
                break
    finally:
        response.close()
    return "".join(said)


async def aiohttp_call(setup: Setup) -> str:
    async with setup.aiohttp_session() as session, session.get(f"{setup.url}/ping") as response:
        response.raise_for_status()
        said: str = (await response.json())["name"]
        return said


async def aiohttp_middleware_call(setup: Setup) -> str:
    async with setup.aiohttp_session_with_middleware() as session, session.get(f"{setup.url}/ping") as response:
        response.raise_for_status()
        said: str = (await response.json())["name"]
        return said


async def aiohttp_stream(setup: Setup) -> str:
    said = []
    async with setup.aiohttp_session() as session, session.get(f"{setup.url}/ping") as response:
        response.raise_for_status()
        async for piece, _ in response.content.iter_chunks():
            said.append(piece.decode())
            if not setup.reads(len(said)):
                break
    return "".join(said)


def httpx2_call(setup: Setup) -> str:
    import httpx2

    with setup.httpx2_client() or httpx2.Client(timeout=TIMEOUT) as client:
        said: str = client.get(f"{setup.url}/ping").raise_for_status().json()["name"]
        return said


def httpx_call(setup: Setup) -> str:
    import httpx

    with setup.httpx_client() or httpx.Client(timeout=TIMEOUT) as client:
        said: str = client.get(f"{setup.url}/ping").raise_for_status().json()["name"]
        return said
