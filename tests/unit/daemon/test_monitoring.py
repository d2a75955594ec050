"""The Grafana dashboard, the alert rules and the reference use the metrics that exist."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.core import Metric

from governor import Config, Governor, Permit, Statistics
from governor.daemon.prometheus import families
from governor.messages import InboundRequest
from governor.metrics import reference
from governor.testing import ManualClock

pytestmark = pytest.mark.promise("R34")

FOLDER: Final = Path(__file__).resolve().parents[3] / "docs" / "monitoring"
#: Labels that Prometheus adds by itself.
SCRAPE: Final = {"job", "instance"}

NAME: Final = re.compile(r"\bgovernor_\w+")
SELECTOR: Final = re.compile(r"\b(?P<name>governor_\w+)\{(?P<matchers>[^}]*)\}")
MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
SHOWN: Final = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


def figures() -> Statistics:
    """Those of a governor that has seen something of everything."""
    config = Config.from_mapping(
        {"outbound": {"weather": {"limits": ["1/minute burst 1"]}, "model": {"limits": ["9 tokens per hour strict"]}}}
    )
    with Governor(config, clock=ManualClock()) as governor:
        for _ in range(2):
            governor.try_permit("weather", "GET")
        permit = governor.try_permit("model")
        assert isinstance(permit, Permit)
        permit.record(status=200, used={"tokens": 10**9})
        governor.inbound.admit_blocking("chat", InboundRequest(b"a1", b"i1"))
        return governor.statistics()


@pytest.fixture(scope="module")
def exposed() -> Mapping[str, set[str]]:
    """The names of all samples, and the labels that each has."""
    metrics: Iterator[Metric] = families(figures())
    return {sample.name: set(sample.labels) for metric in metrics for sample in metric.samples}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in _grafana()["panels"] if panel["type"] != "row"]


def _grafana() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return dashboard


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


#: What is asked, and the text in which its labels are shown.
QUESTIONS: Final = [
    *((target["expr"], target["legendFormat"]) for panel in panels() for target in panel["targets"]),
    *((rule["expr"], " ".join(rule["annotations"].values())) for rule in rules()),
    *((variable["query"], "") for variable in _grafana()["templating"]["list"] if variable["type"] == "query"),
]


@pytest.mark.parametrize(("expression", "shown"), QUESTIONS, ids=[expression for expression, _ in QUESTIONS])
def test_every_name_and_label_exists(expression: str, shown: str, exposed: Mapping[str, set[str]]) -> None:
    names = set(NAME.findall(expression))
    labels = set().union(*(exposed.get(name, set()) for name in names)) | SCRAPE

    assert names
    assert set() == names - set(exposed)
    for selector in SELECTOR.finditer(expression):
        assert set() == {label for label, _ in MATCHER.findall(selector["matchers"])} - exposed[selector["name"]] - SCRAPE
    assert set() == {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")} - labels
    assert set() == set(SHOWN.findall(shown)) - labels


def test_values_of_labels_that_are_asked_for_are_among_those_there_are(exposed: Mapping[str, set[str]]) -> None:
    asked = {
        (label, value)
        for expression, _ in QUESTIONS
        for label, text in MATCHER.findall(expression)
        if label not in SCRAPE
        for value in text.split("|")
    }
    samples = [sample for metric in families(figures()) for sample in metric.samples]

    assert set() == asked - {pair for sample in samples for pair in sample.labels.items()}


def test_every_metric_is_on_the_dashboard(exposed: Mapping[str, set[str]]) -> None:
    shown = {name for expression, _ in QUESTIONS for name in NAME.findall(expression)}

    assert set() == set(exposed) - shown


def test_every_metric_is_in_the_reference(exposed: Mapping[str, set[str]]) -> None:
    page = (FOLDER.parent / "reference" / "http-api.md").read_text(encoding="utf-8")

    assert set() == set(exposed) - set(NAME.findall(page))
    assert reference() in page


def test_panels_have_numbers_and_places_of_their_own() -> None:
    everything = _grafana()["panels"]

    assert len(everything) == len({panel["id"] for panel in everything})
    assert [] == list(_overlaps([panel["gridPos"] for panel in everything]))


def _overlaps(places: list[dict[str, int]]) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            if not (apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]):
                yield one, other


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    assert [] == [
        rule["alert"]
        for rule in rules()
        if set(rule["labels"]) != {"severity"} or set(rule["annotations"]) != {"summary", "description"}
    ]
