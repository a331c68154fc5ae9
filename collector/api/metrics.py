"""What the API counts about itself, as text that Prometheus reads; cheap enough for every request."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from collector.alerts.exposition import MEDIA_TYPE, Family, head, lines_of, sample
from collector.errors import CollectorError

__all__ = ["BUCKETS", "MEDIA_TYPE", "Metrics", "Samples"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_METHODS = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"}

Samples = Iterable[tuple[Mapping[str, str], float]]  # labels and value


@dataclass(frozen=True, slots=True)
class _Asked:
    """One metric whose values are asked for when they are read."""

    name: str
    meaning: str
    kind: str
    read: Callable[[], Samples]


class Metrics:
    """Counts requests, and asks others for their numbers when somebody reads. Counting belongs to the event loop."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._families: list[_Asked] = []
        self._groups: list[Callable[[], Sequence[Family]]] = []
        self._failures = 0

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of its path, so that there are few."""
        self._requests[route, method if method in _METHODS else "other", status] += 1
        if route not in self._buckets:
            self._buckets[route] = [0] * (len(BUCKETS) + 1)
        self._buckets[route][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def register(self, name: str, meaning: str, read: Callable[[], Samples], *, kind: str = "gauge") -> None:
        """Add a metric: `read` gives labels and values each time somebody asks; kind is gauge or counter.

        When it raises an error of ours (the database is away), its values are left out of that answer.
        """
        self._families.append(_Asked(name, meaning, kind, read))

    def register_all(self, read: Callable[[], Sequence[Family]]) -> None:
        """Add many metrics that come from one look; when it fails, all of them are left out of that answer."""
        self._groups.append(read)

    def text(self) -> str:
        """Return everything in the text format of Prometheus."""
        lines = [*self._request_lines(), *self._latency_lines()]
        for family in self._families:
            try:
                samples = [(dict(labels), value) for labels, value in family.read()]
            except CollectorError:
                self._failures += 1
                continue
            lines += lines_of(Family(family.name, family.kind, family.meaning, samples))
        for group in self._groups:
            try:
                families = group()
            except CollectorError:
                self._failures += 1
                continue
            lines += [line for family in families if family.samples for line in lines_of(family)]
        name = "collector_api_metric_failures_total"
        lines += [*head(name, "Metrics that could not be read.", "counter"), sample(name, {}, self._failures)]
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> list[str]:
        name = "collector_api_requests_total"
        counted = sorted(self._requests.items())
        return head(name, "Requests answered, by route, method and status.", "counter") + [
            sample(name, {"route": route, "method": method, "status": str(status)}, count)
            for (route, method, status), count in counted
        ]

    def _latency_lines(self) -> list[str]:
        name = "collector_api_request_seconds"
        lines = head(name, "Time from the first byte of a request to the last of its answer.", "histogram")
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), list(counts), strict=True):
                total += count
                lines.append(sample(f"{name}_bucket", {"route": route, "le": bound}, total))
            lines.append(sample(f"{name}_sum", {"route": route}, round(self._seconds[route], 6)))
            lines.append(sample(f"{name}_count", {"route": route}, total))
        return lines
