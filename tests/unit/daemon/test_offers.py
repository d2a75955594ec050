"""The actions that the status offers for the state of each scope."""

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from governor import Config, ConfigError, Governor
from governor.daemon import create_app, routes
from governor.daemon.documents import Offer
from governor.daemon.offers import offers
from governor.policies.breakers.states import BreakerStatus
from tests.support.answers import granted
from tests.unit.daemon.statuses import group, scope

TOKEN = "a-token-of-an-operator"
API = "/api/v1/traffic-control"
KEY = "outbound:github:get"


def names(found: tuple[Offer, ...], key: str) -> list[str]:
    return [offer.name for offer in found if key in offer.keys]


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    ("status", "forced", "expected"),
    [
        (BreakerStatus.CLOSED, False, ["pause"]),
        (BreakerStatus.CLOSED, True, ["pause"]),
        (BreakerStatus.HALF_OPEN, False, ["close_breaker", "pause"]),
        (BreakerStatus.OPEN, False, ["close_breaker", "pause"]),
        (BreakerStatus.OPEN, True, ["resume", "extend"]),
    ],
)
def test_the_state_of_the_breaker_decides_which_actions_apply(status: BreakerStatus, forced: bool, expected: list[str]) -> None:
    found = offers({KEY: scope(breaker=status, forced=forced), "inbound:chat": group()}, degraded=False)

    assert expected == names(found, KEY)
    assert [] == names(found, "inbound:chat")
    assert [] == names(found, "")


@pytest.mark.promise("R35")
def test_whatever_pauses_traffic_is_to_be_confirmed() -> None:
    found = offers({"a": scope(breaker=BreakerStatus.OPEN, forced=True), "b": scope(breaker=BreakerStatus.OPEN)}, degraded=True)

    assert ["pause", "extend"] == [offer.name for offer in found if offer.question]
    assert ["pause", "extend"] == [offer.name for offer in found if offer.open_for]
    assert ["end_degraded"] == names(found, "")


@pytest.mark.anyio
@pytest.mark.promise("R35")
async def test_mounted_routes_have_the_actions_that_their_status_offers() -> None:
    async with Governor(Config.from_mapping({})) as governor:
        granted(governor.try_permit("github", "GET")).record(status=200)
        app = Starlette(routes=[Mount("/deep", routes=routes(governor, admin_token=TOKEN))])
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost/deep") as client:
            offer = (await client.get(f"{API}/status")).json()["actions"][0]
            body = {"scope": offer["keys"][0], "open_for": next(iter(offer["open_for"]))}
            url = f"{API}{offer['path']}"
            answers = [
                (await client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})).status_code
                for token in ("another-token-of-someone", TOKEN)
            ]
            after = (await client.get(f"{API}/status")).json()

    assert ("pause", [401, 204]) == (offer["name"], answers)
    assert ["resume", "extend"] == [one["name"] for one in after["actions"]]


@pytest.mark.anyio
@pytest.mark.promise("R35")
async def test_without_a_token_mounted_routes_offer_nothing_and_have_no_actions() -> None:
    async with Governor(Config.from_mapping({})) as governor:
        granted(governor.try_permit("github", "GET")).record(status=200)
        app = Starlette(routes=routes(governor))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
            actions = (await client.get(f"{API}/status")).json()["actions"]
            answer = await client.post(f"{API}/actions/resume", json={}, headers={"Authorization": f"Bearer {TOKEN}"})

    assert ([], 404) == (actions, answer.status_code)


@pytest.mark.parametrize("make", [routes, create_app])
def test_a_token_that_is_too_short_is_a_mistake(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match="at least 16 visible ASCII characters"):
        make(Governor(), admin_token="short")
