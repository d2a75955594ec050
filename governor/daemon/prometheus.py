"""The metrics of `governor.metrics` for Prometheus, read from one `Statistics` per scrape."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from governor import Governor, GovernorState, Statistics, UsageError
from governor.metrics import METRICS, Kind

_FAMILIES: dict[Kind, type[CounterMetricFamily] | type[GaugeMetricFamily]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
}


class GovernorCollector:
    """Adds a governor to a registry of your own: `REGISTRY.register(GovernorCollector(governor))`.

    Each scrape reads the governor, from any thread. While the governor is not running, a scrape gets `governor_up 0` and no
    other metric of it. One collector fits into a registry: registering a second one raises `ValueError`.
    """

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    def describe(self) -> Iterable[Metric]:
        """All metric names. Does not read the governor."""
        return (_up(running=False), *families(Statistics()))

    def collect(self) -> Iterable[Metric]:
        """The metrics of one scrape."""
        try:
            statistics = self._governor.statistics() if self._governor.state is GovernorState.RUNNING else None
        except UsageError:
            statistics = None
        return (_up(running=False),) if statistics is None else (_up(running=True), *families(statistics))


class _Collected:
    """A collector of metrics that have been read already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.collect: Callable[[], Iterable[Metric]] = lambda: metrics


def expose(statistics: Statistics, *, accept: str) -> tuple[bytes, str]:
    """The exposition and its content type, in the format that the `Accept` field of the request prefers."""
    registry = CollectorRegistry()
    registry.register(_Collected((_up(running=True), *families(statistics))))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def families(statistics: Statistics) -> Iterator[Metric]:
    """All metrics of the table."""
    for metric in METRICS:
        family = _FAMILIES[metric.kind](metric.prometheus, metric.help, labels=metric.labels)
        for labels, value in metric.read(statistics):
            family.add_metric(labels, value)
        yield family


def _up(*, running: bool) -> Metric:
    return GaugeMetricFamily("governor_up", "1 while the governor runs.", value=float(running))
