"""A whole process is governed by a map of hosts, by every library alike, and is as before when that ends."""

from threading import Thread
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from governor import Governor, PermitDenied, Reason, UsageError
from governor.testing import denying
from governor_client import instrument
from tests.support.http_calls import CALLS, FAMILIES, Get, methods, permits

if TYPE_CHECKING:
    from tests.integration.client.conftest import Site

HOSTS = {"127.0.0.1": "mapped"}


@pytest.fixture(params=CALLS)
def get(request: pytest.FixtureRequest) -> Get:
    return CALLS[request.param]


@pytest.mark.promise("R56")
def test_new_clients_take_a_permit_and_retry_under_the_provider_of_the_host(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 503, 200)

    with instrument(HOSTS, governor=background):
        status = get(url)

    assert (200, 2) == (status, len(site.hits))
    assert {"mapped:get": 2} == permits(background)
    assert (1, 1) == (background.statistics().counters.answered_5xx, background.statistics().counters.answered_2xx)


@pytest.mark.promise("R52", "R56")
def test_this_machine_and_hosts_without_an_entry_need_no_permit(get: Get, site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with instrument({"127.0.0.1:1": "other-port", "api.example": "w"}, default="other", governor=background):
        get(url)

    assert (1, {}) == (len(site.hits), permits(background))


@pytest.mark.promise("R56", "R58")
def test_a_denial_is_raised_or_answered_as_with_a_transport(get: Get, site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with denying(background, "mapped", "GET", retry_after=30.0):
        with instrument(HOSTS, governor=background), pytest.raises(PermitDenied) as caught:
            get(url)
        with instrument(HOSTS, governor=background, on_refusal="response"):
            answered = get(url)

    assert (Reason.RATE_LIMIT, 429, 0) == (caught.value.reason, answered, len(site.hits))
    assert isinstance(caught.value, FAMILIES)


@pytest.mark.promise("R56")
def test_each_redirect_is_that_of_its_own_host(site: "Site", get: Get, background: Governor) -> None:
    there = site.at("/there", 200).replace("127.0.0.1", "localhost")

    async def redirect(request: Request) -> Response:
        return RedirectResponse(there)

    here = site.at("/here", redirect)

    with instrument({"127.0.0.1": "here", "localhost": "there"}, governor=background):
        status = get(here, follow_redirects=True)

    assert (200, {"here:get": 1, "there:get": 1}) == (status, permits(background))


@pytest.mark.promise("R56")
def test_a_second_call_with_the_same_arguments_changes_nothing_until_both_have_ended(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 200)

    first = instrument(HOSTS, governor=background)
    patched = methods()
    second = instrument(dict(HOSTS), governor=background)
    again = methods()
    first.uninstrument()
    first.uninstrument()
    states = first.active, second.active
    get(url)
    second.uninstrument()
    get(url)

    assert (patched, (False, True)) == (again, states)
    assert {"mapped:get": 1} == permits(background)


@pytest.mark.promise("R56")
def test_a_second_call_with_other_arguments_is_rejected_and_the_first_goes_on(
    get: Get, site: "Site", background: Governor
) -> None:
    url = site.at("/", 200)

    with instrument(HOSTS, governor=background):
        for other in ({"hosts": {"127.0.0.1": "other"}}, {"wait": 1.0}, {"libraries": ["httpx"]}, {"default": "other"}):
            with pytest.raises(UsageError, match="instrumented already"):
                instrument(**{"hosts": HOSTS, "governor": background, **other})  # type: ignore[arg-type] # of several types
        get(url)

    assert {"mapped:get": 1} == permits(background)


@pytest.mark.promise("R56")
def test_only_the_named_libraries_are_governed(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)

    with instrument(HOSTS, libraries=["httpx"], governor=background):
        CALLS["httpx2"](url)
        counted = permits(background)
        CALLS["httpx"](url)

    assert ({}, {"mapped:get": 1}) == (counted, permits(background))


@pytest.mark.promise("R56")
def test_a_patch_made_by_other_code_meanwhile_stays_and_works(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)
    original = httpx2.Client._transport_for_url
    seen: list[str] = []

    handle = instrument(HOSTS, governor=background)
    ours = httpx2.Client._transport_for_url

    def traced(self: httpx2.Client, url: httpx2.URL) -> httpx2.BaseTransport:
        seen.append(url.path)
        return ours(self, url)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2.Client, "_transport_for_url", traced)
        CALLS["httpx2"](url)
        with pytest.warns(RuntimeWarning, match=r"other code has patched httpx2\S*\.Client\._transport_for_url") as caught:
            handle.uninstrument()
        CALLS["httpx2"](url)
        counted = permits(background)
        with instrument(HOSTS, governor=background):
            CALLS["httpx2"](url)
    # The other code restores what it has found, which has no effect any more.
    CALLS["httpx2"](url)
    httpx2.Client._transport_for_url = original  # type: ignore[method-assign] # as it was before this test

    assert __file__ == caught[0].filename
    assert ({"mapped:get": 1}, {"mapped:get": 2}, 3, 4) == (counted, permits(background), len(seen), len(site.hits))


@pytest.mark.promise("R56")
def test_threads_may_begin_and_end_it_at_any_time(site: "Site", background: Governor) -> None:
    url = site.at("/", 200)
    calls = 4

    def work() -> None:
        for _ in range(calls):
            with instrument(HOSTS, governor=background):
                CALLS["httpx2"](url)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (8 * calls, {"mapped:get": 8 * calls}) == (len(site.hits), permits(background))
